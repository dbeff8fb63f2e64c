"""A digital accumulator before an analog device: small changes are collected until they make a whole step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import Nested
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import POSITIVE_OR_NONE, check_options


@dataclass(frozen=True, kw_only=True)
class MixedPrecision(Nested, name="mixed_precision"):
    """Changes add up in a digital number chi beside every weight, and whole steps of size epsilon go to the device.

    chi <- chi + change, the device gets n = trunc(chi / epsilon) steps, chi <- chi - n epsilon: the requested n epsilon
    leaves chi, whatever the device realises of it. A pulse-driven device gets n pulses, epsilon being its granularity.
    Any other device is written a change of n epsilon, and only where n is not 0, so that devices that reprogram with
    their whole noise at every change do so rarely. The digital state is one number per weight, and every update costs a
    digital outer product. Reads do not see chi.

    Cells: those of the inner device with ``inner_`` before their names; ``chi``, shaped as the weights, in their unit.

    Args:
        device: the device that stores the weights, or its spec.
        threshold: epsilon in units of 1/sqrt(fan_in), the bound of initial weights, fan_in being the product of all
            axes but the first, > 0; None takes the granularity of a pulse-driven device, and 0.2 for any other.
    """

    source = "Nandakumar et al. 2020, Front. Neurosci. 14:406"

    digital_state = 1

    device: Device | str = "reram_es"
    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factored", False)  # the outer product is digital
        check_options(self, POSITIVE_OR_NONE, "threshold")

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device; the accumulator is empty."""
        return {**super().program(target, gen), "chi": torch.zeros_like(target)}

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device anew and empty the accumulator."""
        return {**super().reprogram(cells, target, gen), "chi": torch.zeros_like(target)}

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Accumulate the change, and pass whole steps on."""
        device, inner = self.inner, self.inner_cells(cells)
        chi = cells["chi"] + change
        if self.threshold is None and isinstance(device, PulseDriven):
            grain = device.granularity(inner)
            n = (chi / grain).trunc_()
            step = n * grain  # subtracted from chi whatever the noisy pulses do
            inner = device.settle(device.pulse(inner, n, gen), gen)
        else:
            share = 0.2 if self.threshold is None else self.threshold
            epsilon = share / math.sqrt(math.prod(change.shape[1:]))
            step = (chi / epsilon).trunc_() * epsilon
            inner = device.write(inner, step, gen)
        return {**self.with_inner(cells, inner), "chi": chi.sub_(step)}
