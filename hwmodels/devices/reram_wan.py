"""Resistive memory of the NeuRRAM chip for inference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.programmed import Programmed, polynomial
from hwmodels.errors import Condition, check_options


@dataclass(frozen=True, kw_only=True)
class ReRamWan(Programmed, name="reram_wan"):
    """Resistive memory as measured 1 s, 1 day and 2 days after programming, up to 40 uS; r = g/40 uS.

    g(t) = max(0, g_target + sigma(r, t) xi), sigma = sum_k c_k(t) r^k uS to the fourth order, xi drawn once per
    programming. Between the three measured times sigma is interpolated linearly in ln t; before 1 s and after 2 days it
    keeps its value at that end, because nothing else was measured. The reads are noise-free.

    Another fit to the same figure (CrossSim's) gives 1.05 instead of 0.35 uS at g = 0, 1.71 instead of 1.10 at 40 uS.

    Cells and options: :class:`~hwmodels.device_models.programmed.Programmed`; ``plus`` and ``minus`` are the
    targets, the drift constants are xi.
    """

    source = "aihwkit, ReRamWan2022NoiseModel"
    fitted_from = "Wan et al. 2022, Nature 608:504, doi 10.1038/s41586-022-04992-8 (fits to published figures)"
    verified = "read"
    tier = "array fit"
    technology = "rram"

    G_REFERENCE = 40.0
    TIMES: ClassVar = (1.0, 86400.0, 172800.0)
    COEFFICIENTS: ClassVar = (
        (0.348, 16.030, -43.853, 45.393, -16.815),
        (0.701, 22.086, -50.773, 47.095, -16.458),
        (0.782, 20.274, -43.507, 37.062, -11.934),
    )

    g_max: float = 40.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within = Condition(lambda g: g <= self.G_REFERENCE, f"{self.G_REFERENCE:g} uS or less")
        check_options(self, within, "g_max", remedy="the fit ends there")

    def programming_sigma(self, g: Tensor) -> Tensor:
        """Return the spread one second after programming, uS."""
        return polynomial(g / self.G_REFERENCE, self.COEFFICIENTS[0]).clamp_(min=0)

    def _programmed(self, g: Tensor, gen: torch.Generator | None) -> Tensor:
        return g  # the drift constant xi governs the programming error as well

    def drifted(self, g: Tensor, constant: Tensor, age: Tensor) -> Tensor:
        r = g / self.G_REFERENCE
        log_t = age.clamp(min=self.TIMES[0]).log_()
        sigma = polynomial(r, self.COEFFICIENTS[0]).clamp_(min=0)
        for (t, c), (t_next, c_next) in zip(self._points(), self._points()[1:], strict=False):
            share = ((log_t - math.log(t)) / math.log(t_next / t)).clamp_(0, 1)
            sigma.addcmul_(share, polynomial(r, c_next).clamp_(min=0) - polynomial(r, c).clamp_(min=0))
        return sigma.mul_(constant).add_(g).clamp_(min=0)

    def read_sigma(self, g: Tensor, now: Tensor, age: Tensor) -> Tensor:
        return torch.zeros_like(g)

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor]:
        """Return the drifted weights with no variance: the error of the first second determines all later ones."""
        later = self.value(self.relax(cells, seconds))
        return later, torch.zeros_like(later)

    def _points(self) -> list[tuple[float, tuple[float, ...]]]:
        return list(zip(self.TIMES, self.COEFFICIENTS, strict=True))
