"""The nonlinear-update device of DNN+NeuroSim: exponential staircases up and down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import NOT_NEGATIVE, POSITIVE, POSITIVE_OR_NONE, Condition, check_options, minimum
from hwmodels.numerics.accurate import expm1_
from hwmodels.numerics.random import normal
from hwmodels.provenance import Provenance

_BEND = 0.098995
"""Largest distance of the staircase from the straight line per unit of nonlinearity, in units of the range.

Derived from NeuroSim's table of A(NL): all eight known entries agree to four digits."""


@dataclass(frozen=True, kw_only=True)
class NonlinearUpdate(PulseDriven, Provenance, name="nonlinear_update"):
    """A cell of ``levels`` pulses over the range: v(p) = B (1 - exp(-p/A)) - 1 in [-1, 1], B = 2/(1 - exp(-levels/A)).

    Down follows the mirrored staircase with its own A. In closed form, n pulses up give v + (B - 1 - v)(1 -
    exp(-n/A)). A pulsed cell gets noise 2 cycle_std xi, whatever the number of pulses. w = scale v. A follows from the
    nonlinearity NL: the staircase leaves the straight line by at most 0.099 NL of the range.

    Cells: ``weight`` (v), ``rate_up``, ``rate_down`` (1/A, per pulse), all shaped as the weights; 0-dim ``scale``.

    Args:
        levels: pulses from one end to the other, at least 2.
        nl_up: nonlinearity upwards, 0.01 to 9.
        nl_down: nonlinearity downwards, 0.01 to 9, by its size.
        nl_dtod: device-to-device spread of the nonlinearities, absolute.
        cycle_std: cycle-to-cycle noise, in units of the range.
        scale: weight per device unit, > 0; None gives headroom / sqrt(fan_in), fan_in being the product of all axes
            but the first.
        headroom: a uniform draw with bounds 1/sqrt(fan_in) fills +-1/headroom of the range when ``scale`` is None.
    """

    source = "Peng et al. 2020, DNN+NeuroSim V2.1, IEEE TCAD, arXiv 2003.06471"
    fitted_from = "HfZrO2 ferroelectric transistor, the defaults of DNN+NeuroSim V2.1"
    verified = "read"
    tier = "single device"
    technology = "fefet"

    levels: int = 32
    nl_up: float = 1.75
    nl_down: float = 1.46
    nl_dtod: float = 0.0
    cycle_std: float = 0.003
    scale: float | None = None
    headroom: float = 3.0

    def __post_init__(self) -> None:
        bent = Condition(lambda nl: 0.01 <= nl <= 9, "0.01 to 9")
        check_options(self, bent, "nl_up", "nl_down", remedy="use constant_step for 0")
        check_options(self, NOT_NEGATIVE, "nl_dtod", "cycle_std", remedy="change it")
        check_options(self, minimum(2), "levels", remedy="32 is the default")
        check_options(self, POSITIVE_OR_NONE, "scale", remedy="change it")
        check_options(self, POSITIVE, "headroom", remedy="change it")

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Draw new cells and write-verify the target on them, clipped to the range."""
        full = self.scale if self.scale is not None else self.headroom / math.sqrt(math.prod(target.shape[1:]))
        cells = {"weight": (target / full).clamp_(-1, 1), "scale": target.new_full((), full)}
        for key, nl in (("rate_up", self.nl_up), ("rate_down", self.nl_down)):
            rate = target.new_full(target.shape, curvature(nl) / self.levels)
            if self.nl_dtod:  # the curvature is very nearly proportional to the nonlinearity over its spread
                rate.mul_(normal(target, gen).mul_(self.nl_dtod / nl).add_(1).abs_().clamp_(min=1e-3))
            cells[key] = rate
        return cells

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write-verify the target on the same cells."""
        return {**cells, "weight": (target / cells["scale"]).clamp_(-1, 1)}

    def value(self, cells: Cells) -> Tensor:
        """Return the weights scale v."""
        return cells["weight"] * cells["scale"]

    def granularity(self, cells: Cells) -> Tensor:
        """Return the range over the number of levels, 2 scale / levels."""
        return cells["scale"] * (2 / self.levels)

    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        """Move along the staircase of the direction."""
        rate = torch.lerp(cells["rate_down"], cells["rate_up"], rise)
        sign = rise * 2 - 1
        v = cells["weight"]
        reach = expm1_(-self.levels * rate).reciprocal_().mul_(-2).sub_(1)  # B - 1
        distance = reach.sub_(v * sign)
        moved = expm1_(-rate * count).neg_().mul_(distance)
        variance = count.clamp(max=1).mul_((2 * self.cycle_std) ** 2)
        if spread is not None:
            variance.addcmul_((expm1_(-rate) * distance).square_(), spread)
        v = normal(v, gen).mul_(variance.sqrt_()).addcmul_(moved, sign).add_(v).clamp_(-1, 1)
        return {**cells, "weight": v}


def curvature(nl: float) -> float:
    """Return the curvature c = levels/A of a staircase that leaves the straight line by 0.099 NL of the range.

    Solves max_x (1 - exp(-c x))/(1 - exp(-c)) - x = 0.099 NL by bisection.

    >>> round(1 / curvature(1.75), 3)
    0.702
    """
    low, high = 1e-6, 1e6
    for _ in range(200):
        middle = math.sqrt(low * high)
        # the distance from the line is largest where the slopes agree, at exp(-c x) = end / c
        end = -math.expm1(-middle)
        bend = 1 / end - 1 / middle + math.log(end / middle) / middle
        low, high = (middle, high) if bend < _BEND * nl else (low, middle)
    return math.sqrt(low * high)
