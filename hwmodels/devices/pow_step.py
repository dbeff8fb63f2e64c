"""Devices whose steps follow a power of the distance to the bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.errors import NOT_NEGATIVE, Condition, check_options
from hwmodels.numerics.accurate import expm1_
from hwmodels.numerics.random import normal


@dataclass(frozen=True, kw_only=True)
class PowStep(Pulsed, name="pow_step"):
    """Steps that follow a power law: v += up room^g_up (1 + s xi), room = (top - v)/(top - bottom).

    Down: v -= down (1 - room)^g_down (1 + s xi), s = dw_min_std. The exponents are each device's own: g_up = pow_gamma
    |l + gain + r| and g_down = pow_gamma |u + gain - r| with l = min(pow_up_down, 0), u = -max(pow_up_down, 0), gain =
    1 + pow_gamma_dtod xi, which both directions share, and r = pow_up_down_dtod xi. The asymmetry only ever shrinks one
    of the two. Of n pulses the first is exact and the others follow the solution of dv/dn = step room^g; the noise is
    that of n mean steps.

    Further cells: ``power_up``, ``power_down`` (dimensionless).

    Args:
        pow_gamma: nominal exponent, >= 0; 1 is a soft bound.
        pow_gamma_dtod: device-to-device spread of the exponent, relative.
        pow_up_down: asymmetry of the exponents, in (-1, 1): shrinks that up when negative, that down when positive.
        pow_up_down_dtod: device-to-device spread of the asymmetry.

    Other options and cells: :class:`~hwmodels.device_models.pulsed.Pulsed`.
    """

    source = "aihwkit, PowStepDevice; Fusi and Abbott 2007, Nat. Neurosci. 10:485; Frascaroli et al. 2018, Sci. Rep. 8"
    revision = 2

    pow_gamma: float = 1.0
    pow_gamma_dtod: float = 0.1
    pow_up_down: float = 0.0
    pow_up_down_dtod: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self, NOT_NEGATIVE, "pow_gamma", "pow_gamma_dtod", "pow_up_down_dtod")
        asymmetry = Condition(lambda v: -1 <= v <= 1, "a number between -1 and 1")
        check_options(self, asymmetry, "pow_up_down", remedy="0 is symmetric")

    @property
    def nominal_step(self) -> float:
        """The step in the middle between bounds of nominal size."""
        return float(self.dw_min * 0.5**self.pow_gamma)

    def draw_devices(self, target: Tensor, gen: torch.Generator | None) -> Cells:
        cells = super().draw_devices(target, gen)
        gain = normal(target, gen).mul_(self.pow_gamma_dtod).add_(1)
        r = normal(target, gen).mul_(self.pow_up_down_dtod)
        cells["power_up"] = (gain + r).add_(min(self.pow_up_down, 0.0)).abs_().mul_(self.pow_gamma)
        cells["power_down"] = (gain - r).sub_(max(self.pow_up_down, 0.0)).abs_().mul_(self.pow_gamma)
        return cells

    def pulse_moments(self, v: Tensor, n: Tensor, step: Tensor, rise: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        # a stuck device has bounds that meet, and steps of zero
        width = (cells["top"] - cells["bottom"]).clamp_(min=1e-6 * self.w_max)
        room = torch.lerp(v - cells["bottom"], cells["top"] - v, rise).div_(width).clamp_(0, 1)
        power = torch.lerp(cells["power_down"], cells["power_up"], rise)
        rate = step.abs() / width
        # room left in the direction of the step: to the top for a rise, to the bottom for a fall
        first = room.pow(power).mul_(step)
        room = room.sub_(first.abs() / width).clamp_(min=1e-12)
        above = power.sub_(1)
        above = torch.where(above.abs() < 1e-4, 1e-4, above)  # g = 1 is the limit of the closed form
        # d room/dn = -rate room^g gives room_n = room (1 + (g - 1) rate (n - 1) room^(g - 1))^(-1/(g - 1))
        shrink = room.pow(above).mul_(rate).mul_(n - 1).mul_(above).clamp_(min=-0.999999).log1p_().div_(above)
        others = expm1_(shrink.neg_()).mul_(room).mul_(width)
        mean = first.sub_(others.mul_(step.sign())).div_(n)
        return mean, mean.square().mul_(n)
