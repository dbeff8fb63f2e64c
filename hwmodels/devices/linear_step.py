"""Devices whose steps shrink linearly with their state: linear step, soft bounds, capacitor and ECRAM presets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.linear import linear_pulses
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.errors import NOT_NEGATIVE, Condition, NeurofaError, check_options
from hwmodels.numerics.random import normal
from hwmodels.registry import recipe


@dataclass(frozen=True, kw_only=True)
class LinearStep(Pulsed, name="linear_step"):
    """Steps that shrink towards the bound: v += up (1 + g_up v)(1 + s xi), g_up = -|gamma_up + gamma_up_dtod xi|/bound.

    Down: v -= down (1 + g_down v)(1 + s xi), g_down = +|gamma_down + gamma_down_dtod xi| / |bound|; s = dw_min_std.
    With additive noise the step is up (1 + g_up v + s xi). A response below zero counts as zero. The mean of n pulses
    is exact, (1 + g v) ((1 + g step)^n - 1) / g; so is the variance of additive noise; that of multiplicative noise is
    exact to first order in s^2.

    Further cells: ``slope_up``, ``slope_down`` (g, 1/device unit).

    Args:
        gamma_up: relative loss of the step at the upper bound, >= 0; 1 is a soft bound.
        gamma_down: relative loss of the step down at the lower bound, >= 0.
        gamma_up_dtod: device-to-device spread of gamma_up, absolute.
        gamma_down_dtod: device-to-device spread of gamma_down, absolute.
        own_bounds: gamma refers to each device's own bounds instead of w_max and w_min.
        additive: noise that does not shrink with the step.

    Other options and cells: :class:`~hwmodels.device_models.pulsed.Pulsed`.
    """

    source = "aihwkit, LinearStepDevice; Rasch et al. 2021, arXiv 2104.02184"

    gamma_up: float = 0.0
    gamma_down: float = 0.0
    gamma_up_dtod: float = 0.05
    gamma_down_dtod: float = 0.05
    own_bounds: bool = False
    additive: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        slopes = ("gamma_up", "gamma_down", "gamma_up_dtod", "gamma_down_dtod")
        check_options(self, NOT_NEGATIVE, *slopes, remedy="0 is a constant step")
        negative = Condition(lambda v: v < 0, "a negative number")
        check_options(self, negative, "w_min", remedy="the slope refers to it")

    def draw_devices(self, target: Tensor, gen: torch.Generator | None) -> Cells:
        cells = super().draw_devices(target, gen)
        up = normal(target, gen).mul_(self.gamma_up_dtod).add_(self.gamma_up).abs_()
        down = normal(target, gen).mul_(self.gamma_down_dtod).add_(self.gamma_down).abs_()
        # a stuck device may sit at zero: its steps are zero, so that any finite slope will do
        tiny = 1e-6 * self.w_max
        cells["slope_up"] = -up / (cells["top"].abs().clamp_(min=tiny) if self.own_bounds else self.w_max)
        cells["slope_down"] = down / (cells["bottom"].abs().clamp_(min=tiny) if self.own_bounds else -self.w_min)
        return cells

    def pulse_moments(self, v: Tensor, n: Tensor, step: Tensor, rise: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        slope = torch.lerp(cells["slope_down"], cells["slope_up"], rise)
        return linear_pulses(v, n, step, slope, additive=self.additive)


@dataclass(frozen=True, kw_only=True)
class SoftBounds(LinearStep, name="soft_bounds"):
    """Steps that vanish at each device's own bounds: v += up (1 - v/top)(1 + s xi), v -= down (1 - v/bottom)(1 + s xi).

    Options and cells: :class:`LinearStep` with gamma = 1 and no spread of it.
    """

    source = "aihwkit, SoftBoundsDevice; Fusi and Abbott 2007, Nat. Neurosci. 10:485"

    gamma_up: float = 1.0
    gamma_down: float = 1.0
    gamma_up_dtod: float = 0.0
    gamma_down_dtod: float = 0.0
    own_bounds: bool = True


@recipe("device", "soft_bounds_pmax", source="aihwkit, SoftBoundsPmaxDevice (steps derived from its pulse response)")
def soft_bounds_pmax(
    *,
    p_max: int = 1000,
    alpha: float = 0.0005,
    range_min: float = -1.0,
    range_max: float = 1.0,
    dw_min_dtod: float = 0.3,
    dw_min_std: float = 0.3,
    w_max_dtod: float = 0.3,
    w_min_dtod: float = 0.3,
    scale: float | None = None,
    headroom: float = 3.0,
) -> SoftBounds:
    """Build soft bounds from a measured staircase v(p) = range_min + B (1 - exp(-alpha p)), at range_max after p_max.

    B = (range_max - range_min) / (1 - exp(-alpha p_max)); bounds range_min and range_min + B; the steps at v = 0 follow
    as (1 - exp(-alpha)) times the distance of each bound.

    Args:
        p_max: pulses of the staircase.
        alpha: curvature of the staircase per pulse, > 0.
        range_min: where it begins, < 0, device units.
        range_max: where it ends, > 0, device units.
        dw_min_dtod: device-to-device spread of the step, relative.
        dw_min_std: cycle-to-cycle spread of a step, relative.
        w_max_dtod: device-to-device spread of the upper bound, relative.
        w_min_dtod: device-to-device spread of the lower bound, relative.
        scale: weight per device unit; None as in ``soft_bounds``.
        headroom: as in ``soft_bounds``.

    Raises:
        NeurofaError: the staircase does not climb through zero.
    """
    if not (p_max >= 1 and 0 < alpha < math.inf and range_min < 0 < range_max):
        raise NeurofaError(
            f"got soft_bounds_pmax(p_max={p_max}, alpha={alpha}, range_min={range_min}, range_max={range_max});"
            " expected p_max >= 1, alpha > 0 and range_min < 0 < range_max; change the values"
        )
    # the staircase goes on towards range_min + B, where its steps would vanish
    top = range_min - (range_max - range_min) / math.expm1(-alpha * p_max)
    rate = -math.expm1(-alpha)
    larger = max(top, -range_min)
    # the asymmetry shrinks one side only: the larger step is dw_min, and the other follows
    up_down = 1 + range_min / top if top >= -range_min else -(1 + top / range_min)
    return SoftBounds(
        dw_min=rate * larger,
        dw_min_dtod=dw_min_dtod,
        dw_min_std=dw_min_std,
        w_max=top,
        w_min=range_min,
        w_max_dtod=w_max_dtod,
        w_min_dtod=w_min_dtod,
        up_down=up_down,
        scale=scale,
        headroom=headroom,
    )


@dataclass(frozen=True, kw_only=True)
class Capacitor(LinearStep, name="capacitor"):
    """A capacitor in 14 nm CMOS: fine linear steps, 400 states, charge that leaks over 10^6 mini-batches."""

    source = "aihwkit, preset Capacitor"
    fitted_from = "Li et al. 2018, VLSI Technology, doi 10.1109/VLSIT.2018.8510648"
    verified = "read"
    tier = "single device"

    dw_min: float = 0.005
    dw_min_dtod: float = 0.1
    w_max: float = 1.0
    w_min: float = -1.0
    w_max_dtod: float = 0.07
    w_min_dtod: float = 0.07
    up_down_dtod: float = 0.06
    gamma_up: float = 0.05
    gamma_down: float = 0.05
    gamma_up_dtod: float = 0.01
    gamma_down_dtod: float = 0.01
    additive: bool = True
    lifetime: float = 1e6
    lifetime_dtod: float = 0.3


@dataclass(frozen=True, kw_only=True)
class EcRam(LinearStep, name="ecram"):
    """Lithium electrochemical memory: 1000 states."""

    source = "aihwkit, preset EcRam"
    fitted_from = "Tang et al. 2018, IEDM, doi 10.1109/IEDM.2018.8614551"
    verified = "read"
    tier = "single device"
    technology = "ecram"

    dw_min: float = 0.002
    dw_min_dtod: float = 0.1
    w_max: float = 1.1724
    w_min: float = -0.8276
    w_max_dtod: float = 0.05
    w_min_dtod: float = 0.05
    gamma_up: float = 0.1153
    gamma_down: float = 0.5085


@dataclass(frozen=True, kw_only=True)
class EcRamMO(LinearStep, name="ecram_mo"):
    """Metal-oxide electrochemical memory: 7000 states."""

    source = "aihwkit, preset EcRamMO"
    fitted_from = "Kim et al. 2019, IEDM, doi 10.1109/IEDM19573.2019.8993463"
    verified = "read"
    tier = "single device"
    technology = "ecram"

    dw_min: float = 2.8214e-4
    dw_min_dtod: float = 0.1
    dw_min_std: float = 2.0
    w_max: float = 1.1714
    w_min: float = -0.8286
    w_max_dtod: float = 0.05
    w_min_dtod: float = 0.05
    gamma_up: float = 0.4152
    gamma_down: float = 0.7342
