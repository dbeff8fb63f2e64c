"""Probe passes: what a small change of hidden activity, or of weights, does to the output.

A probe is made by the learner for a rule that asks for one. It follows the changes forward, layer by layer, through
each layer's own derivative (a *tangent*), or, since no chip differentiates itself, takes the *difference* of two
passes. A rule then sees the changes that it made and the o numbers that came out, and nothing of the network.

Noise: a tangent is taken at the weights and activities of its own tick, noise of reading included, and is exact but
for rounding; converters count as the identity. A difference (y' - y)/h, h the ``step``, has three errors: curvature,
of order h; rounding, about eps |y|/h (1e-7 |y|/h in single precision); and, on noisy hardware, noise of two passes that
differ, of variance 2 s_y^2/h^2 where s_y is the standard deviation of an output from pass to pass. The last is the
noise floor: it falls with a larger h and with more samples only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer, LocalView, Params, State
from neurofa.core.network import Network, Tick
from neurofa.maps.analog import SEED

By = Literal["tangent", "difference"]


@dataclass(frozen=True)
class Probe:
    """How a rule wants its probes made."""

    by: By = "tangent"
    """Forward-mode derivatives, or the difference of two passes."""
    step: float = 0.01
    """Size of the change in a difference, in units of the drawn change."""
    each: bool = False
    """A pass for every layer, instead of one that is shared by all."""

    def __post_init__(self) -> None:
        if self.by not in ("tangent", "difference"):
            raise NeurofaError(f"got a probe by '{self.by}'; expected tangent or difference; choose one")
        if not self.step > 0:
            raise NeurofaError(f"got a probe of step={self.step}; expected a positive number; 0.01 is the default")


def send(
    network: Network,
    tick: Tick,
    probe: Probe,
    added: Mapping[str, Tensor],
    moved: Mapping[str, Params],
    gen: torch.Generator | None,
) -> Tensor:
    """Change of the output, (B, o), for changes of hidden outputs and of weights.

    Args:
        network: which made ``tick``.
        tick: from :meth:`Network.step`, with all views.
        probe: how.
        added: by layer, (B, *out_shape) each, changes of its output.
        moved: by layer, changes of its weights, shaped as they are.
        gen: source of the noise of the second pass (difference only).
    """
    if probe.by == "difference":
        return _difference(network, tick, probe.step, added, moved, gen)
    dot: Tensor | None = None
    for name, layer in network.items():
        if dot is not None or name in moved:
            dot = layer.tangent(tick.views[name], dot, moved.get(name, {}))
        if name in added:
            dot = added[name] if dot is None else dot + added[name]
    return torch.zeros_like(tick.y) if dot is None else dot


def _difference(
    network: Network,
    tick: Tick,
    step: float,
    added: Mapping[str, Tensor],
    moved: Mapping[str, Params],
    gen: torch.Generator | None,
) -> Tensor:
    """(y' - y)/step, with new read noise and new noise of the arrays in the second pass, and the same dropout."""
    x = next(iter(tick.views.values())).x
    for name, layer in network.items():
        view = tick.views[name]
        params = layer.read(gen)
        for key, change in moved.get(name, {}).items():
            params[key] = params[key] + step * change
        x = layer.compute(params, x, repeated(layer, view, gen))[0]
        if name in added:
            x = x.add(added[name], alpha=step)
    return (x - tick.y).div_(step)


def repeated(layer: Layer, view: LocalView, gen: torch.Generator | None) -> State:
    """State before one more pass of the same tick: the same dropout, new noise of the arrays."""
    kept = {key: value for key, value in view.before.items() if key != SEED}
    return layer.start(view.x, gen) | kept
