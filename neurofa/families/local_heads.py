"""Auxiliary readouts (heads): every hidden layer has its own small readout and its own local loss.

A head computes A f, (o,), from the mean f of its layer's outputs over all positions (per channel of an image, per
feature of a sequence). The network's loss at A f for the same targets is the layer's local loss. No error crosses a
layer: an update depends on the layer's own head alone.
"""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Plastic, Teaching, WorkCount
from neurofa.core.directions import Directions, Outer
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.rule import Rule, require_positions
from neurofa.core.synapses import Synapses
from neurofa.core.view import LocalView


@dataclass(frozen=True, slots=True)
class Heard:
    """Input, weights and errors of one head (auxiliary readout) for one batch."""

    f: Tensor
    """(B, C): mean outputs of the layer."""
    weight: Tensor
    """(o, C): A as read in this pass."""
    errors: tuple[Tensor, ...]
    """(B, o) for each group of channels: error of its local loss."""

    def parts(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return f (B, c), A (o, c) and error (B, o) of each group of c channels."""
        g = len(self.errors)
        return list(zip(self.f.tensor_split(g, 1), self.weight.tensor_split(g, 1), self.errors, strict=True))

    def gradient(self) -> Tensor:
        """Return the gradient of the local losses by f: e A, (B, C), with the error e of each group."""
        return torch.cat([e @ a for _, a, e in self.parts()], 1)


class Headed(Rule, WorkCount, ABC):
    """A rule whose hidden layers have heads: auxiliary readouts with a local loss each.

    Args:
        groups: groups of channels, each with its own loss and part of the head; at most one per channel.
        heads: ``learn`` (dA = e f^T, with the layer's learning rate) or ``fixed``.
        feedback: distribution and device of the heads; with gain 1 that of a readout's weights.
        error: number format of the local errors, and of e.
    """

    decay: float = 0.0
    """Weight decay of the rule: none."""

    def __init__(self, *, groups: int, heads: str, feedback: Feedback | str, error: Format | str) -> None:
        super().__init__(feedback=feedback, error=error)
        if groups < 1:
            raise NeurofaError(f"got {self.name}(groups={groups}); expected at least 1; 1 is one loss for a layer")
        if heads not in ("learn", "fixed"):
            raise NeurofaError(f"got {self.name}(heads={heads}); expected learn or fixed; choose one")
        self.groups, self.learns = groups, heads == "learn"
        self._heard: dict[str, Heard] = {}

    @cached_property
    def declares(self) -> Declaration:
        return Declaration(plastic=self if self.learns else None, work=self)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        require_positions(self.name, plan)
        self.shapes = {site.name: site.out_shape for site in plan.hidden}
        self.heads = nn.ModuleDict()
        for name, shape in self.shapes.items():
            self.heads[name] = self.feedback.draw((plan.outputs, shape[_axis(shape)]), gen)

    def head(self, name: str) -> Synapses:
        """Return the weights A of one layer's head, (o, C)."""
        head = self.heads[name]
        assert isinstance(head, Synapses)
        return head

    def listen(self, name: str, teaching: Teaching, view: LocalView, gen: torch.Generator | None) -> Heard:
        """Compute the head's input, weights and errors for one batch, and keep them for :meth:`adapt`.

        Args:
            name: the layer.
            teaching: with ``error_for``, the network's loss at other outputs.
            view: of the layer.
            gen: source of read noise and of stochastic rounding.
        """
        assert teaching.error_for is not None
        shape = self.shapes[name]
        y = view.y.reshape(-1, *shape)  # a row for each position at which the network answers
        f = y.movedim(_axis(shape) + 1, 1).flatten(2).mean(2) if len(shape) > 1 else y
        weight = self.head(name).read(gen)
        groups = min(self.groups, f.shape[1])
        pairs = zip(f.tensor_split(groups, 1), weight.tensor_split(groups, 1), strict=True)
        errors = tuple(self.encoder.quantize(teaching.error_for(part @ a.t()), gen) for part, a in pairs)
        self._heard[name] = Heard(f, weight, errors)
        return self._heard[name]

    def spread(self, name: str, gradient: Tensor) -> Tensor:
        """Return the error at the layer's output, (B, *out_shape), for an error at its means f.

        Args:
            name: the layer's name.
            gradient: (B, C), error at f.
        """
        shape = self.shapes[name]
        axis = _axis(shape)
        inner = [n if i == axis else 1 for i, n in enumerate(shape)]
        positions = math.prod(shape) // shape[axis]  # each has 1/positions of the mean's error
        return (gradient / positions).view(-1, *inner).expand(-1, *shape)

    def adapt(self, name: str, view: LocalView, directions: Directions) -> Directions:
        if not self.learns or name not in self.shapes:
            return {}
        parts = self._heard[name].parts()
        if len(parts) == 1:  # in factors, for devices that need them
            return {"head": Outer(parts[0][2], parts[0][0])}
        return {"head": torch.cat([e.t() @ f for f, _, e in parts], 1)}

    def plastic(self, name: str) -> dict[str, Plastic]:
        return {"head": Plastic(self.head(name))} if self.learns and name in self.shapes else {}

    def head_flop(self, name: str, batch: int) -> int:
        """Return the FLOP of a head's product A f for a batch; the products e A and e f^T take as many.

        Args:
            name: the layer's name.
            batch: B, samples.
        """
        return 2 * batch * self.head(name).weight.numel()

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        found = super().work_at(served)
        if served.name in self.shapes:
            product = self.head_flop(served.name, served.batch)
            found += [PhaseFlop("delivery", product), PhaseFlop("adaptation", product if self.learns else 0)]
        return found


def _axis(shape: tuple[int, ...]) -> int:
    """Return the axis of the channels: first in an image (C, H, W), last in a sequence (S, d)."""
    return 0 if len(shape) == 3 else len(shape) - 1
