"""Devices whose steps follow a measured curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.errors import Condition, check_options

SUBSTEPS = 4
"""Parts of a sequence of pulses, each with one step along the curve."""


@dataclass(frozen=True, kw_only=True)
class PiecewiseStep(Pulsed, name="piecewise_step"):
    """Steps interpolated between nodes: v += up y_up(p)(1 + s xi), p the position of v between its bounds.

    The nodes stand at equal distances from the lower to the upper bound; down with ``nodes_down``; s = dw_min_std.
    Of n pulses the first is exact and the others are integrated in 4 equal parts by the midpoint rule, within the
    bounds: over many pulses a strongly bent curve is smoothed. The noise is that of n mean steps.

    Further cells: ``nodes`` (those down, then those up; one curve for all devices).

    Args:
        nodes_up: relative step up at the nodes, at least two, >= 0.
        nodes_down: relative step down at the nodes, at least two, >= 0.

    Other options and cells: :class:`~hwmodels.device_models.pulsed.Pulsed`.
    """

    source = "aihwkit, PiecewiseStepDevice"
    revision = 2

    nodes_up: tuple[float, ...] = (1.0, 1.0)
    nodes_down: tuple[float, ...] = (1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "nodes_up", tuple(map(float, self.nodes_up)))  # a spec gives a list
        object.__setattr__(self, "nodes_down", tuple(map(float, self.nodes_down)))
        curve = Condition(
            lambda nodes: len(nodes) >= 2 and all(0 <= y < math.inf for y in nodes), "two or more numbers of 0 or more"
        )
        check_options(self, curve, "nodes_up", "nodes_down", remedy="1 is the nominal step")

    @property
    def nominal_step(self) -> float:
        """The step up at the node in the middle."""
        step = self.dw_min * self.nodes_up[len(self.nodes_up) // 2]
        return step if step > 0 else self.dw_min

    def draw_devices(self, target: Tensor, gen: torch.Generator | None) -> Cells:
        return {**super().draw_devices(target, gen), "nodes": target.new_tensor(self.nodes_down + self.nodes_up)}

    def pulse_moments(self, v: Tensor, n: Tensor, step: Tensor, rise: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        top, bottom = cells["top"], cells["bottom"]
        first = self._response(v, rise, cells) * step
        now = begin = (v + first).clamp_(bottom, top)
        part = step * (n - 1) / SUBSTEPS
        for _ in range(SUBSTEPS):
            middle = torch.addcmul(now, part, self._response(now, rise, cells), value=0.5)
            now = torch.addcmul(now, part, self._response(middle, rise, cells)).clamp_(bottom, top)
        mean = first.add_(now - begin).div_(n)
        return mean, mean.square().mul_(n)

    def _response(self, v: Tensor, rise: Tensor, cells: Cells) -> Tensor:
        nodes, bottom = cells["nodes"], cells["bottom"]
        down, up = len(self.nodes_down), len(self.nodes_up)
        width = (cells["top"] - bottom).clamp_(min=1e-6 * self.w_max)  # a stuck device has bounds that meet
        last = rise * (up - down) + (down - 1)
        at = (v - bottom).div_(width).clamp_(0, 1).mul_(last)
        low = torch.minimum(at.floor(), last - 1)
        index = (rise * down).add_(low).long()
        return torch.lerp(nodes[index], nodes[index + 1], at.sub_(low))
