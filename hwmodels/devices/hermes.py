"""Phase-change memory as on the HERMES chip."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device_models.programmed import Programmed, one_over_f, polynomial, power_law
from hwmodels.errors import Condition, check_options


class TwoPieceFit(NamedTuple):
    """A fit in two pieces: clip(slope ln r + offset, low, high) below a border, a polynomial from there on."""

    border: float
    logarithm: tuple[float, float]
    """Slope and offset."""
    clip: tuple[float, float]
    polynomial: tuple[float, ...]
    """Coefficients c_0, c_1, ... of r."""

    def at(self, r: Tensor) -> Tensor:
        """Return the fit at shares r > 0 of the largest conductance, shaped as they are."""
        slope, offset = self.logarithm
        low = r.log().mul_(slope).add_(offset).clamp_(*self.clip)
        return torch.where(r < self.border, low, polynomial(r, self.polynomial))


@dataclass(frozen=True, kw_only=True)
class Hermes(Programmed, name="hermes"):
    """Phase-change memory of the HERMES project chip, one or two devices on each side of a pair; r = g/g_max.

    Programming: sigma = c0 + c1 r + c2 r^2 + c3 r^3 uS. Drift as in ``pcm`` with nu = |mu + sd xi|: mu =
    clip(-0.0387 ln r - 0.0182, 0.072, 0.13) below r = 0.0945, else -0.0436 r^2 - 0.0126 r + 0.0736, for both numbers of
    devices. Read: sigma = g Q sqrt(ln((t + t0 + t_read)/(2 t_read))), Q at the programmed r, t_read = 512 ns. The other
    constants were fitted for each number of devices:

    - two: g_max = 20.7 uS, t0 = 300 s; sd = clip(-0.0117 ln r - 0.0057, 0.0091, 0.04) below r = 0.3055, else
      -0.0118 r^2 + 0.0093 r + 0.0073; Q = clip(-0.0117 ln r - 0.0069, 0.015, 0.04) below r = 0.16, else
      0.0069 r^3 - 0.028 r^2 + 0.0211 r + 0.0123;
    - one: g_max = 10.35 uS, t0 = 200 s; sd = clip(-0.0120 ln r - 0.0023, 0.0124, 0.04) below r = 0.3039, else
      -0.0165 r^2 + 0.0116 r + 0.0104; Q = clip(-0.0078 ln r + 0.0038, 0.0179, 0.04) below r = 0.1591, else
      0.0664 r^3 - 0.1352 r^2 + 0.0768 r + 0.0088.

    Cells and options: :class:`~hwmodels.device_models.programmed.Programmed`; the drift constants are the exponents nu.

    Args:
        devices: 1 or 2 on each side.
    """

    source = "aihwkit, PCMHermes noise models"
    revision = 2
    fitted_from = (
        "Le Gallo et al. 2023, Nat. Electron. 6:680; Khaddam-Aljameh et al. 2022, JSSC 57:1027; for two devices"
        " Vasilopoulos et al. 2023, IEEE Trans. Electron Devices"
    )
    verified = "read"
    tier = "array fit"
    technology = "pcm"

    T0: ClassVar = {1: 200.0, 2: 300.0}
    T_READ = 512e-9
    G_MAX: ClassVar = {1: 10.35, 2: 20.7}
    PROGRAMMING: ClassVar = {
        1: (0.15781817, 2.32443916, -2.16310839, 0.68841818),
        2: (0.16603222, 4.71806468, -8.48101252, 4.68961419),
    }
    NU_STD: ClassVar = {
        1: TwoPieceFit(0.3039, (-0.0120, -0.0023), (0.0124, 0.04), (0.0104, 0.0116, -0.0165)),
        2: TwoPieceFit(0.3055, (-0.0117, -0.0057), (0.0091, 0.04), (0.0073, 0.0093, -0.0118)),
    }
    READ: ClassVar = {
        1: TwoPieceFit(0.1591, (-0.0078, 0.0038), (0.0179, 0.04), (0.0088, 0.0768, -0.1352, 0.0664)),
        2: TwoPieceFit(0.16, (-0.0117, -0.0069), (0.015, 0.04), (0.0123, 0.0211, -0.028, 0.0069)),
    }
    NU_MEAN: ClassVar = TwoPieceFit(0.0945, (-0.0387, -0.0182), (0.072, 0.13), (0.0736, -0.0126, -0.0436))

    devices: int = 2
    g_max: float = field(default=20.7, init=False)

    def __post_init__(self) -> None:
        measured = Condition(lambda n: n in (1, 2), "1 or 2")
        check_options(self, measured, "devices", remedy="only these were measured")
        object.__setattr__(self, "g_max", self.G_MAX[self.devices])
        super().__post_init__()

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), elements_per_write=len(self.sides) * self.devices)

    def programming_sigma(self, g: Tensor) -> Tensor:
        return polynomial(g / self.g_max, self.PROGRAMMING[self.devices])

    def drift_constant(self, g: Tensor, xi: Tensor) -> Tensor:
        r = (g / self.g_max).clamp_(min=1e-7)  # zero has no logarithm
        return xi.mul_(self.NU_STD[self.devices].at(r)).add_(self.NU_MEAN.at(r)).abs_()

    def drifted(self, g: Tensor, constant: Tensor, age: Tensor) -> Tensor:
        return power_law(g, constant, age, self.T0[self.devices])

    def read_sigma(self, g: Tensor, now: Tensor, age: Tensor) -> Tensor:
        q = self.READ[self.devices].at((g / self.g_max).clamp_(min=1e-7))
        return q.mul_(now).mul_(one_over_f(age, self.T0[self.devices], self.T_READ))
