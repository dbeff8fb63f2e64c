"""CMO/HfOx resistive memory for inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.programmed import Programmed
from hwmodels.errors import Condition, check_options
from hwmodels.numerics.clipped_normal import clipped_variance
from hwmodels.numerics.random import normal


@dataclass(frozen=True, kw_only=True)
class ReRamCmo(Programmed, name="reram_cmo"):
    """Resistive memory with a conductive metal oxide on HfOx, 9 to 88.2 uS, one device for each weight.

    Programming by write-verify: sigma = 0.00081107 + 0.00106879 g uS where 0.2 % of the target is accepted, 0.01121854
    + 0.01129027 g uS at 2 %. Relaxation from 1 s on: g - 0.08900206 ln t + (0.04201137 ln t + 0.41183342) xi uS, xi
    drawn once per programming (the source draws it at every call); before 1 s nothing moves. Read: sigma = 0.02773165
    log10(g) sqrt(ln((t + 1 us)/(2 us))) uS. After each of the three a conductance is clipped to [g_min, g_max]. The fit
    is of single devices, not of an array with its faults.

    Cells and other options: :class:`~hwmodels.device_models.programmed.Programmed`; the drift constants are xi.

    Args:
        acceptance: where write-verify stops, % of the target conductance: 0.2 or 2.
    """

    source = "aihwkit, ReRamCMONoiseModel"
    revision = 2
    fitted_from = "CMO/HfOx devices, IBM Research Zurich"
    verified = "read"
    tier = "single device"
    technology = "rram"

    PROGRAMMING: ClassVar = {0.2: (0.00081107, 0.00106879), 2.0: (0.01121854, 0.01129027)}
    FIT: ClassVar = (9.0, 88.2)

    g_max: float = 88.2
    g_min: float = 9.0
    pair: bool = False
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

    def _programmed(self, g: Tensor, gen: torch.Generator | None) -> Tensor:
        return super()._programmed(g, gen).clamp_(self.g_min, self.g_max)

    def drifted(self, g: Tensor, constant: Tensor, age: Tensor) -> Tensor:
        log_t = age.clamp(min=1).log_()  # measured from one second on: before, ln t is held at 0
        moved = (log_t * 0.04201137).add_(0.41183342).mul_(constant).add_(log_t, alpha=-0.08900206)
        return torch.where(age >= 1, (g + moved).clamp_(self.g_min, self.g_max), g)

    def read_sigma(self, g: Tensor, now: Tensor, age: Tensor) -> Tensor:
        growth = ((age + 1e-6) / 2e-6).log_().clamp_(min=0).sqrt_()
        return now.clamp(min=1).log10_().mul_(0.02773165).mul_(growth)

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """Return the weights with the noise of a read, every conductance within its range."""
        seen = []
        for side, g in zip(self.sides, self.conductances(cells), strict=True):
            noise = normal(g, gen).mul_(self.read_sigma(cells[side], g, cells["age"]))
            seen.append(noise.add_(g).clamp_(self.g_min, self.g_max))
        return self._difference(*seen).mul_(self._unit(cells))

    def _variance(self, cells: Cells, now: tuple[Tensor, ...]) -> Tensor:
        variance = torch.zeros_like(now[0])
        for side, g in zip(self.sides, now, strict=True):
            sigma = self.read_sigma(cells[side], g, cells["age"])
            variance += clipped_variance(g, sigma, self.g_min, self.g_max)
        return variance
