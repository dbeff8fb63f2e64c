"""Soft bounds read against a reference device, and the resistive-memory presets built on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells
from hwmodels.device_models.linear import linear_pulses
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.errors import FINITE, NOT_NEGATIVE, Condition, check_options
from hwmodels.numerics.random import normal


@dataclass(frozen=True, kw_only=True)
class SoftBoundsReference(Pulsed, name="soft_bounds_reference"):
    """Soft bounds of a state v that is read as v - ref, ref a second device that never changes.

    v += up (1 - v/top + s xi), or up (1 - v/top)(1 + s xi) when not additive; down with the bottom; s = dw_min_std.
    ref = reference_mean + reference_std xi, plus the symmetry point v* = (up - down) / (up/top - down/bottom), where
    both steps have one size, when ``subtract_symmetry`` is on. The mean of n pulses and the variance of additive noise
    are exact up to the bounds, that of multiplicative noise to first order in s^2.

    Further cells: ``reference`` (ref, device units), ``slope_up`` and ``slope_down`` (-1/bound, 1/device unit).

    Args:
        reference_mean: mean of the reference, device units.
        reference_std: device-to-device spread of the reference, device units.
        subtract_symmetry: add each device's own symmetry point to its reference.
        additive: noise that does not shrink with the step.

    Other options and cells: :class:`~hwmodels.device_models.pulsed.Pulsed`.
    """

    source = "aihwkit, SoftBoundsReferenceDevice; Gong, Rasch et al. 2022, IEDM, doi 10.1109/IEDM45625.2022.10019569"
    revision = 2

    reference_mean: float = 0.0
    reference_std: float = 0.0
    subtract_symmetry: bool = False
    additive: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self, NOT_NEGATIVE, "reference_std", remedy="0 switches it off")
        check_options(self, FINITE, "reference_mean", remedy="0 is the default")
        negative = Condition(lambda v: v < 0, "a negative number")
        check_options(self, negative, "w_min", remedy="the step vanishes there")

    def draw_devices(self, target: Tensor, gen: torch.Generator | None) -> Cells:
        cells = super().draw_devices(target, gen)
        reference = normal(target, gen).mul_(self.reference_std).add_(self.reference_mean)
        if self.subtract_symmetry:
            up, down = cells["up"], cells["down"]
            # 0/0 for a stuck device, which has no symmetry point
            reference += ((up - down) / (up / cells["top"] - down / cells["bottom"])).nan_to_num_(0.0, 0.0, 0.0)
        cells["reference"] = reference
        for side, bound in (("up", cells["top"]), ("down", cells["bottom"])):
            # a stuck device has no step, wherever its bounds are
            cells[f"slope_{side}"] = torch.where(cells[side] > 0, -1 / bound, 0.0)
        return cells

    def hidden_state(self, v: Tensor, cells: Cells) -> Tensor:
        return v + cells["reference"]

    def shown_state(self, state: Tensor, cells: Cells) -> Tensor:
        return state - cells["reference"]

    def pulse_moments(self, v: Tensor, n: Tensor, step: Tensor, rise: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        slope = torch.lerp(cells["slope_down"], cells["slope_up"], rise)
        return linear_pulses(v, n, step, slope, additive=self.additive)


@dataclass(frozen=True, kw_only=True)
class ReRamSB(SoftBoundsReference, name="reram_sb"):
    """Resistive memory, one good device, as soft bounds: 1000 states, 375 % cycle noise."""

    source = "aihwkit, preset ReRamSB (a loose fit, by its own words)"
    revision = 1
    fitted_from = "Gong et al. 2018, Nat. Commun. 9, doi 10.1038/s41467-018-04485-1"
    verified = "read"
    tier = "single device"
    technology = "rram"

    dw_min: float = 0.002
    dw_min_std: float = 3.75
    w_max: float = 1.25
    w_min: float = -0.75
    w_max_dtod: float = 0.3 / 1.25
    w_min_dtod: float = 0.3 / 0.75
    write_noise_std: float = 56.0


@dataclass(frozen=True, kw_only=True)
class ReRamArrayOM(SoftBoundsReference, name="reram_array_om"):
    """Optimized-material resistive memory measured over an array: 21 states, 13.48 % of the devices stuck."""

    source = "aihwkit, preset ReRamArrayOM (there the stuck devices are a comment; here they are on)"
    revision = 1
    fitted_from = "Gong, Rasch et al. 2022, IEDM, doi 10.1109/IEDM45625.2022.10019569"
    verified = "read"
    tier = "array measured"
    technology = "rram"

    dw_min: float = 0.0949
    dw_min_dtod: float = 0.7829
    log_normal: bool = True
    dw_min_std: float = 0.4158
    w_max: float = 1.0
    w_min: float = -1.0
    w_max_dtod: float = 0.3499
    w_min_dtod: float = 0.5695
    write_noise_std: float = 1.4113
    corrupt_prob: float = 0.1348
    corrupt_range: float = 0.01
    reference_std: float = 0.05
    subtract_symmetry: bool = True
    headroom: float = 1.5  # at the usual 3 the write noise exceeds an initial matrix


@dataclass(frozen=True, kw_only=True)
class ReRamArrayHfO2(SoftBoundsReference, name="reram_array_hfo2"):
    """HfO2 resistive memory measured over an array: 4 states, 9.77 % of the devices stuck."""

    source = "aihwkit, preset ReRamArrayHfO2 (there the stuck devices are a comment; here they are on)"
    revision = 1
    fitted_from = "Gong, Rasch et al. 2022, IEDM, doi 10.1109/IEDM45625.2022.10019569"
    verified = "read"
    tier = "array measured"
    technology = "rram"

    dw_min: float = 0.4622
    dw_min_dtod: float = 0.7125
    log_normal: bool = True
    dw_min_std: float = 0.2174
    w_max: float = 1.0
    w_min: float = -1.0
    w_max_dtod: float = 0.4295
    w_min_dtod: float = 0.5990
    write_noise_std: float = 0.5841
    corrupt_prob: float = 0.0977
    corrupt_range: float = 0.01
    reference_std: float = 0.05
    subtract_symmetry: bool = True
    headroom: float = 1.5  # at the usual 3 the write noise exceeds an initial matrix
