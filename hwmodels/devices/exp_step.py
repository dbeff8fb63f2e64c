"""Devices whose steps depend exponentially on their state, and the resistive-memory preset fitted with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.errors import FINITE, NOT_NEGATIVE, POSITIVE, Condition, check_options
from hwmodels.numerics.accurate import expm1_


@dataclass(frozen=True, kw_only=True)
class ExpStep(Pulsed, name="exp_step"):
    """Steps with an exponential response: y = max(0, 1 - A exp(+-gamma z)), z = 2 a v/(top - bottom) + b.

    v += up y_up (1 + s xi) with A_up, +gamma_up; v -= down y_down (1 + s xi) with A_down, -gamma_down; s = dw_min_std.
    With ``noise_add`` or ``noise_slope`` the standard deviation of a step is s (|step y| + noise_add + noise_slope
    |v|). Of n pulses the first is exact and the others follow the solution of dv/dn = step y(v), which is logistic in
    exp(gamma z); the noise is that of n mean steps.

    Args:
        A_up: amplitude of the response up; below zero the step grows towards the far bound.
        A_down: amplitude of the response down.
        gamma_up: exponent of the response up, > 0.
        gamma_down: exponent of the response down, > 0.
        a: slope of z, not 0.
        b: offset of z.
        noise_add: further cycle noise, device units.
        noise_slope: further cycle noise per |v|.

    Other options and cells: :class:`~hwmodels.device_models.pulsed.Pulsed`.
    """

    source = "aihwkit, ExpStepDevice; Gong et al. 2018, Nat. Commun. 9, doi 10.1038/s41467-018-04485-1"
    revision = 2

    A_up: float = 0.00081
    A_down: float = 0.36833
    gamma_up: float = 12.44625
    gamma_down: float = 12.78785
    a: float = 0.244
    b: float = 0.2425
    noise_add: float = 0.0
    noise_slope: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self, POSITIVE, "gamma_up", "gamma_down", remedy="use constant_step for gamma = 0")
        check_options(self, NOT_NEGATIVE, "noise_add", "noise_slope", remedy="0 switches it off")
        check_options(self, FINITE, "A_up", "A_down", "b")
        sloped = Condition(lambda a: a != 0 and FINITE.holds(a), "a number other than 0")
        check_options(self, sloped, "a", remedy="use constant_step for a = 0")

    @property
    def nominal_step(self) -> float:
        """The step down at weight 0, as in the source, which names the mean of both directions and takes this twice."""
        down = self.dw_min * (1 - max(self.up_down, 0.0))
        step = down * max(0.0, 1 - self.A_down * math.exp(min(-self.gamma_down * self.b, 60.0)))
        return step if step > 0 else self.dw_min

    def pulse_moments(self, v: Tensor, n: Tensor, step: Tensor, rise: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        # a stuck device has bounds that meet and steps of zero: any finite slope and response will do
        slope = (2 * self.a) / (cells["top"] - cells["bottom"]).clamp_(min=1e-6 * self.w_max)
        gamma = (rise * (self.gamma_up + self.gamma_down)).sub_(self.gamma_down)
        A = (rise * (self.A_up - self.A_down)).add_(self.A_down)
        exponent = (slope * v).add_(self.b).mul_(gamma)
        rate = slope.mul_(gamma)  # d(gamma z)/dv
        first = exponent.clamp(max=60).exp_().mul_(-A).add_(1).clamp_(min=0).mul_(step)
        # the response after the first pulse, where the others begin
        response = exponent.addcmul_(rate, first).clamp_(max=60).exp_().mul_(-A).add_(1).clamp_(min=0)
        # with E = exp(gamma z) the equation dE/dn = rate step E (1 - A E) is logistic; its solution is
        # rate (v_n - v_1) = -log(1 + y (exp(-rate step (n - 1)) - 1)), y the response at v_1
        path = (rate * step).mul_(1 - n)
        capped = path.clamp(max=80)  # beyond it log(1 + y (e^x - 1)) is x + log(y), and e^x has no float32
        beyond = path.sub_(capped).mul_(response > 0)
        others = expm1_(capped).mul_(response).clamp_(min=-0.999999).log1p_().add_(beyond)
        mean = first.sub_(others.div_(rate)).div_(n)
        if not (self.noise_add or self.noise_slope):
            return mean, mean.square().mul_(n)
        std = torch.add(mean.abs(), v.abs(), alpha=self.noise_slope).add_(self.noise_add)
        return mean, std.square_().mul_(n)


@dataclass(frozen=True, kw_only=True)
class ReRamES(ExpStep, name="reram_es"):
    """Resistive memory, one good device: 1500 states, 500 % cycle noise, write noise of a tenth of the range.

    With so much noise n pulses at once are not quite n single ones: up to n = 300 the mean is off by up to 5 %, and the
    spread by up to 10 % (20 % between equal devices). ``pulse_trains`` sends single ones.
    """

    source = "aihwkit, preset ReRamES"
    fitted_from = "Gong et al. 2018, Nat. Commun. 9, doi 10.1038/s41467-018-04485-1"
    verified = "read"
    tier = "single device"
    technology = "rram"

    dw_min: float = 0.00135
    dw_min_dtod: float = 0.2
    dw_min_std: float = 5.0
    w_max: float = 1.0
    w_min: float = -1.0
    up_down: float = 0.259359
    up_down_dtod: float = 0.05
    write_noise_std: float = 75.0
    A_up: float = -1.18445
    A_down: float = -0.081404
    gamma_up: float = 5.0
    gamma_down: float = 5.0
    a: float = -0.5
    b: float = -0.5
