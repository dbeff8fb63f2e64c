"""Devices whose steps follow a measured curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.pulsed import Pulsed

SUBSTEPS = 4
"""Parts in which several pulses at once are followed along the curve."""


@dataclass(frozen=True, kw_only=True)
class PiecewiseStep(Pulsed, name="piecewise_step"):
    """Steps interpolated between nodes: v += up y_up(p)(1 + s xi), p the position of v between its bounds.

    The nodes stand at equal distances from the lower to the upper bound; down with ``nodes_down``; s = dw_min_std.
    Of n pulses the first is exact and the others are followed in 4 equal parts, each at the step of its middle and
    within the bounds: over many pulses a strongly bent curve is smoothed.

    Further cells: ``nodes_up``, ``nodes_down`` (one curve for all devices).

    Args:
        nodes_up: relative step up at the nodes, at least two, >= 0.
        nodes_down: relative step down at the nodes, at least two, >= 0.

    Other options and cells: :class:`~hwmodels.pulsed.Pulsed`.
    """

    source = "aihwkit, PiecewiseStepDevice"

    nodes_up: tuple[float, ...] = (1.0, 1.0)
    nodes_down: tuple[float, ...] = (1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("nodes_up", "nodes_down"):
            object.__setattr__(self, key, tuple(float(y) for y in getattr(self, key)))  # a spec gives a list
            nodes = getattr(self, key)
            good = len(nodes) >= 2 and all(0 <= y < math.inf for y in nodes)
            self._need(key, good, "two or more numbers of 0 or more", "1 is the nominal step")

    def draw(self, target: Tensor, gen: torch.Generator | None) -> Cells:
        curves = {key: target.new_tensor(getattr(self, key)) for key in ("nodes_up", "nodes_down")}
        return {**super().draw(target, gen), **curves}

    def mean_step(self, v: Tensor, n: Tensor, step: Tensor, rise: Tensor, cells: Cells) -> Tensor:
        top, bottom = cells["top"], cells["bottom"]
        width = (top - bottom).clamp_(min=1e-6 * self.w_max)
        up, down = cells["nodes_up"], cells["nodes_down"]
        first = self._response(v, rise, up, down, bottom, width) * step
        now = (v + first).clamp_(bottom, top)
        begin = now
        part = step * (n - 1) / SUBSTEPS
        for _ in range(SUBSTEPS):
            middle = torch.addcmul(now, part, self._response(now, rise, up, down, bottom, width), value=0.5)
            now = torch.addcmul(now, part, self._response(middle, rise, up, down, bottom, width)).clamp_(bottom, top)
        return first.add_(now - begin).div_(n)

    @staticmethod
    def _response(v: Tensor, rise: Tensor, up: Tensor, down: Tensor, bottom: Tensor, width: Tensor) -> Tensor:
        position = (v - bottom).div_(width).clamp_(0, 1)
        return torch.where(rise, _lerp(up, position), _lerp(down, position))


def _lerp(nodes: Tensor, position: Tensor) -> Tensor:
    at = position * (nodes.numel() - 1)
    low = at.floor().clamp_(max=nodes.numel() - 2)
    index = low.long()
    return torch.lerp(nodes[index], nodes[index + 1], at - low)
