"""Inference noise that does not depend on the conductance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device_models.programmed import Programmed, one_over_f, power_law
from hwmodels.errors import NOT_NEGATIVE, check_options


@dataclass(frozen=True, kw_only=True)
class StateIndependent(Programmed, name="state_independent"):
    """Noise of programming, drift and reading with the same constants at every conductance, a control.

    Programming: sigma = prog_std. Drift: g ((t + t0)/t0)^(-nu), nu = |nu_mean + nu_std xi|. Read: sigma = read_std
    (g/g_max) sqrt(ln((t + t0 + t_read)/(2 t_read))), t0 = 20 s, t_read = 250 ns.

    Cells and other options: :class:`~hwmodels.device_models.programmed.Programmed`; the drift constants are
    the exponents nu.

    Args:
        prog_std: programming noise, uS.
        nu_mean: mean drift exponent.
        nu_std: device-to-device spread of the drift exponent.
        read_std: read noise at g_max before its growth in time, uS.
    """

    source = "aihwkit, StateIndependentNoiseModel (a control, no measured device)"
    verified = "read"

    T0 = 20.0
    T_READ = 250e-9

    prog_std: float = 0.2
    nu_mean: float = 0.1
    nu_std: float = 0.05
    read_std: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self, NOT_NEGATIVE, "prog_std", "nu_mean", "nu_std", "read_std", remedy="0 switches it off")

    def programming_sigma(self, g: Tensor) -> Tensor:
        return torch.full_like(g, self.prog_std)

    def drift_constant(self, g: Tensor, xi: Tensor) -> Tensor:
        return xi.mul_(self.nu_std).add_(self.nu_mean).abs_()

    def drifted(self, g: Tensor, constant: Tensor, age: Tensor) -> Tensor:
        return power_law(g, constant, age, self.T0)

    def read_sigma(self, g: Tensor, now: Tensor, age: Tensor) -> Tensor:
        return one_over_f(age, self.T0, self.T_READ).mul_(now).mul_(self.read_std / self.g_max)
