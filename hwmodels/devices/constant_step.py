"""Devices whose steps do not depend on their state."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.pulsed import Pulsed


@dataclass(frozen=True, kw_only=True)
class ConstantStep(Pulsed, name="constant_step"):
    """Steps of one size: v += up (1 + dw_min_std xi), v -= down (1 + dw_min_std xi), exact for any number of pulses.

    Options and cells: :class:`~hwmodels.device_models.pulsed.Pulsed`.
    """

    source = "Gokmen and Vlasov 2016, Front. Neurosci. 10:333"

    def pulse_moments(self, v: Tensor, n: Tensor, step: Tensor, rise: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        return step, step.square().mul_(n)


@dataclass(frozen=True, kw_only=True)
class Idealized(ConstantStep, name="idealized"):
    """An idealized device of 10 000 states, without asymmetry."""

    source = "aihwkit, preset Idealized"
    fitted_from = "design target, no measured device; Rasch, Gokmen and Haensch 2019, arXiv 1906.02698"
    verified = "read"
    tier = "single device"

    dw_min: float = 0.0002
    w_max: float = 1.0
    w_min: float = -1.0
    up_down_dtod: float = 0.0


@dataclass(frozen=True, kw_only=True)
class GokmenVlasov(ConstantStep, name="gokmen_vlasov"):
    """The specification of the resistive processing unit: 1250 states, 30 % variations, 1 % asymmetry spread."""

    source = "aihwkit, preset GokmenVlasov"
    fitted_from = "specification, no measured device; Gokmen and Vlasov 2016, Front. Neurosci. 10:333"
    verified = "read"
    tier = "single device"

    dw_min: float = 0.0016
    w_max: float = 1.0
    w_min: float = -1.0
