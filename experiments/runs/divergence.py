"""Divergence: a training loss far above the first one ends a run early, and what then is worth changing is said."""

from __future__ import annotations

import torch
from torch.linalg import vector_norm

from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec, parse
from neurofa.core.network import Network

LIMIT = 100.0
"""Largest mean loss of a few steps, in units of the loss of the first step."""
MARK = "the run has diverged"
"""Words by which rows of sweeps are recognised."""


class DivergedError(NeurofaError):
    """A run whose loss rose beyond :data:`LIMIT` times the first, or is no number any more."""


class LossWatch:
    """Compares the losses of a run with the first one.

    Args:
        first: loss of the first step, of a run that is continued; None: the next loss is the first.
    """

    def __init__(self, first: float | None = None) -> None:
        self.first = first
        self._total, self._samples = 0.0, 0

    def begin_epoch(self) -> None:
        """Forget the sums of the epoch before."""
        self._total, self._samples = 0.0, 0

    def see(self, mean: float, samples: int, epoch: int) -> None:
        """Look at the mean loss of an epoch so far, and at that of the samples since the last call.

        Args:
            mean: mean loss of the epoch so far.
            samples: in it.
            epoch: number of the epoch.

        Raises:
            DivergedError: the samples since the last call have a loss far above the first.
        """
        total = mean * samples
        recent = (total - self._total) / (samples - self._samples)
        self._total, self._samples = total, samples
        if self.first is None:
            self.first = mean
        if not recent <= LIMIT * max(self.first, 1e-6):
            raise DivergedError(
                f"got a training loss of {recent:.3g} in epoch {epoch}, {recent / max(self.first, 1e-6):.2g} times the"
                f" first ({self.first:.3g}): {MARK}; expected a loss that falls; lower the learning rate (lr of"
                " --optimizer) or the gain of the feedback"
            )


class GrowthWatch:
    """Remembers how large the weights of every layer were at the last looks, to name the layer that grew.

    Args:
        network: the network that learns.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._step, self._sizes = 0, self._norms()

    @torch.no_grad()
    def _norms(self) -> dict[str, float]:
        layers = [(name, layer.synapses.values()) for name, layer in self._network.items() if len(layer.synapses)]
        if not layers:
            return {}
        norms = [torch.stack([vector_norm(s.weight.float()) for s in group]).norm() for _, group in layers]
        # one transfer from an accelerator for all layers
        return dict(zip([name for name, _ in layers], torch.stack(norms).tolist(), strict=True))

    def see(self, step: int) -> None:
        """Remember the present sizes.

        Args:
            step: number of the last finished step.
        """
        self._step, self._sizes = step, self._norms()

    def growth(self, step: int) -> str:
        """Return which layer's weights grew most since the last look, by what factor a step; empty: none grew.

        Args:
            step: number of the last finished step.
        """
        steps, now = max(1, step - self._step), self._norms()
        # a norm that is no number is the largest growth of all
        grown = {name: now[name] / max(size, 1e-30) for name, size in self._sizes.items()}
        name = max(grown, key=lambda layer: float("inf") if grown[layer] != grown[layer] else grown[layer], default="")
        if not name or grown[name] < 1.05:
            return ""
        factor = grown[name] ** (1 / steps)
        return (
            f"the weights of layer '{name}' grew most, {factor:.3g} times a step over the last {steps}"
            f" ({self._sizes[name]:.3g} to {now[name]:.3g})"
        )


def explained(error: NeurofaError, growth: str, optimizer: str) -> DivergedError:
    """Return the error of a run that has diverged, with the layer that grew and what is worth changing.

    Args:
        error: that ended the run.
        growth: of :meth:`GrowthWatch.growth`.
        optimizer: its spec.
    """
    mark = "" if MARK in str(error) else f" ({MARK})"
    said = f"; {growth}" if growth else ""
    return DivergedError(f"{error}{mark}{said}; try {_slower(optimizer)} or --clip 1")


def _slower(optimizer: str) -> str:
    """Return words for an optimizer with a tenth of its learning rate."""
    spec = parse(optimizer)
    rate = spec.options.get("lr")
    if not isinstance(rate, int | float):
        return "a tenth of the learning rate"
    return f"--optimizer '{Spec(spec.name, {**spec.options, 'lr': float(f'{rate / 10:.3g}')})}'"
