"""A digital accumulator before an analog device: small changes wait until the device can follow them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import inner_device, pack, unpack
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True)
class MixedPrecision(Device, name="mixed_precision"):
    """Changes add up in a digital chi; whole steps of size epsilon go to the device: n = trunc(chi / epsilon).

    chi <- chi + change, the device gets n steps, chi <- chi - n epsilon: what was asked for leaves chi, whatever the
    device made of it. A pulse-driven device gets n pulses, epsilon being its granularity; any other one is asked for a
    change of n epsilon, and only where n is not 0, so that devices that reprogram with their whole noise at every
    change do so rarely. The digital state is one number per weight, and every update costs a digital outer product.

    Cells: those of the inner device with ``inner_`` before their names; ``chi``, shaped as the weights, in their unit.

    Args:
        device: what stores the weights, a spec or a device.
        threshold: epsilon in units of 1/sqrt(fan_in), the bound of initial weights, fan_in being the product of all
            axes but the first, > 0; None takes the granularity of a pulse-driven device, and 0.2 for any other.
    """

    source = "Nandakumar et al. 2020, Front. Neurosci. 14:406"

    digital_state = 1

    device: Device | str = "reram_es"
    threshold: float | None = None

    def __post_init__(self) -> None:
        inner_device(self, "device")
        object.__setattr__(self, "factored", False)  # the outer product is digital
        if self.threshold is not None and not 0 < self.threshold < math.inf:
            raise NeurofaError(
                f"got mixed_precision(threshold={self.threshold}); expected a positive number or None; change the value"
            )

    def faults(self, cells: Cells) -> Tensor | None:
        return self.inner.faults(unpack("inner", cells))

    @property
    def inner(self) -> Device:
        """What stores the weights."""
        assert isinstance(self.device, Device)  # noqa: S101 (narrows the type that the constructor built)
        return self.device

    def _epsilon(self, inner: Cells, like: Tensor) -> Tensor | float:
        if self.threshold is None and isinstance(self.inner, PulseDriven):
            return self.inner.granularity(inner)
        share = 0.2 if self.threshold is None else self.threshold
        return share / math.sqrt(math.prod(like.shape[1:]))

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device; the accumulator is empty."""
        return {**pack("inner", self.inner.program(target, gen)), "chi": torch.zeros_like(target)}

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device anew and empty the accumulator."""
        inner = self.inner.reprogram(unpack("inner", cells), target, gen)
        return {**cells, **pack("inner", inner), "chi": torch.zeros_like(target)}

    def value(self, cells: Cells) -> Tensor:
        """The inner weights: what waits in chi is not seen."""
        return self.inner.value(unpack("inner", cells))

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """An inner read."""
        return self.inner.read(unpack("inner", cells), gen)

    def read_variance(self, cells: Cells) -> Tensor:
        """Of the inner device."""
        return self.inner.read_variance(unpack("inner", cells))

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Of the inner device."""
        return self.inner.aged(unpack("inner", cells), seconds)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Accumulate, and pass whole steps on."""
        inner = unpack("inner", cells)
        epsilon = self._epsilon(inner, change)
        chi = cells["chi"] + change
        n = (chi / epsilon).trunc_()
        asked = n * epsilon
        if isinstance(self.inner, PulseDriven) and self.threshold is None:
            inner = self.inner.settle(self.inner.pulse(inner, n, gen), gen)
        else:
            inner = self.inner.write(inner, asked, gen)
        return {**cells, **pack("inner", inner), "chi": chi.sub_(asked)}

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        """Let time pass on the inner device."""
        return {**cells, **pack("inner", self.inner.relax(unpack("inner", cells), seconds, gen))}
