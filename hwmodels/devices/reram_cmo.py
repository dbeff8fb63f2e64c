"""CMO/HfOx resistive memory for inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.device_models.programmed import Programmed
from hwmodels.errors import Condition, check_options


@dataclass(frozen=True, kw_only=True)
class ReRamCmo(Programmed, name="reram_cmo"):
    """Resistive memory with a conductive metal oxide on HfOx, 9 to 88.2 uS.

    Programming by write-verify: sigma = 0.00081107 + 0.00106879 g uS when 0.2 % of the range is accepted, 0.0112185 +
    0.01129027 g uS at 2 %. Relaxation from 1 s on: g - 0.08900 ln t + (0.04201 ln t + 0.41183) xi uS, xi drawn once per
    programming; before 1 s nothing moves. Read: sigma = 0.0277316 log10(g) sqrt(ln((t + 1 us)/(2 us))) uS.

    Cells and other options: :class:`~hwmodels.device_models.programmed.Programmed`; the drift constants are xi.

    Args:
        acceptance: where write-verify stops, % of the range: 0.2 or 2.
    """

    source = "aihwkit, ReRamCMONoiseModel"
    fitted_from = "CMO/HfOx devices, IBM Research Zurich"
    verified = "read"
    tier = "array measured"
    technology = "rram"

    PROGRAMMING: ClassVar = {0.2: (0.00081107, 0.00106879), 2.0: (0.0112185, 0.01129027)}
    FIT: ClassVar = (9.0, 88.2)

    g_max: float = 88.2
    g_min: float = 9.0
    acceptance: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        measured = Condition(lambda percent: percent in self.PROGRAMMING, "0.2 or 2 (per cent)")
        check_options(self, measured, "acceptance", remedy="only these were measured")
        low, high = self.FIT
        check_options(self, Condition(lambda g: g >= low, f"{low:g} uS or more"), "g_min", remedy="the fit ends there")
        check_options(
            self, Condition(lambda g: g <= high, f"{high:g} uS or less"), "g_max", remedy="the fit ends there"
        )

    def programming_sigma(self, g: Tensor) -> Tensor:
        offset, slope = self.PROGRAMMING[float(self.acceptance)]
        return g * slope + offset

    def drifted(self, g: Tensor, constant: Tensor, age: Tensor) -> Tensor:
        log_t = age.clamp(min=1).log_()  # measured from one second on: before, ln t is held at 0
        moved = (log_t * 0.04201).add_(0.41183).mul_(constant).add_(log_t, alpha=-0.08900)
        return torch.where(age >= 1, (g + moved).clamp_(min=0), g)

    def read_sigma(self, g: Tensor, now: Tensor, age: Tensor) -> Tensor:
        growth = ((age + 1e-6) / 2e-6).log_().clamp_(min=0).sqrt_()
        return now.clamp(min=1).log10_().mul_(0.0277316).mul_(growth)
