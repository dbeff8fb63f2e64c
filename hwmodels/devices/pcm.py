"""Phase-change memory for inference."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hwmodels.device_models.programmed import Programmed, one_over_f, polynomial, power_law


@dataclass(frozen=True, kw_only=True)
class Pcm(Programmed, name="pcm"):
    """Phase-change memory (doped Ge2Sb2Te5), 25 uS, fitted over 10^4 devices; r = g/g_max.

    Programming: sigma = (g_max/25)(0.26348 + 1.9650 r - 1.1731 r^2) uS. Drift: g ((t + t0)/t0)^(-nu), nu =
    |mu + sd xi|, mu = clip(-0.0155 ln r + 0.0244, 0.049, 0.1), sd = clip(-0.0125 ln r - 0.0059, 0.008, 0.045), r the
    target. Read: sigma = g Q sqrt(ln((t + t0 + t_read)/(2 t_read))), Q = min(0.2, 0.0088/r^0.65), r after programming;
    t0 = 20 s, t_read = 250 ns.

    Cells and options: :class:`~hwmodels.device_models.programmed.Programmed`; the drift constants are the exponents nu.
    """

    source = "aihwkit, PCMLikeNoiseModel"
    fitted_from = "Nandakumar et al. 2019, ICECS, doi 10.1109/ICECS46596.2019.8964852"
    verified = "read"
    tier = "array fit"
    technology = "pcm"

    T0 = 20.0
    T_READ = 250e-9

    def programming_sigma(self, g: Tensor) -> Tensor:
        return polynomial(g / self.g_max, (0.26348, 1.9650, -1.1731)).mul_(self.g_max / 25)

    def drift_constant(self, g: Tensor, xi: Tensor) -> Tensor:
        log_r = (g / self.g_max).clamp_(min=1e-7).log_()
        mean = log_r.mul(-0.0155).add_(0.0244).clamp_(0.049, 0.1)
        std = log_r.mul_(-0.0125).sub_(0.0059).clamp_(0.008, 0.045)
        return xi.mul_(std).add_(mean).abs_()

    def drifted(self, g: Tensor, constant: Tensor, age: Tensor) -> Tensor:
        return power_law(g, constant, age, self.T0)

    def read_sigma(self, g: Tensor, now: Tensor, age: Tensor) -> Tensor:
        q = (g / self.g_max).pow_(0.65).clamp_(min=1e-3).reciprocal_().mul_(0.0088).clamp_(max=0.2)
        return q.mul_(now).mul_(one_over_f(age, self.T0, self.T_READ))
