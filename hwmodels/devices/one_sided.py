"""Pairs of devices that can only be increased, and phase-change memory trained with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import inner_device, pack, unpack
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import NeurofaError
from hwmodels.numerics.random import normal
from hwmodels.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class OneSided(PulseDriven, Provenance, name="one_sided"):
    """A weight w = scale (G+ - G-) whose devices only ever go up: up pulses go to G+, down pulses to G-.

    Both fill up in time. After every mini-batch a pair is refreshed where one device stands above refresh_upper w_max
    and the other above refresh_lower w_max: both are reset to |reset_std xi| and the difference is written back on one
    side by write-verify. In a nearly full pair a write therefore does less than asked for.

    Cells: those of the device twice, with ``plus_`` and ``minus_`` before their names.

    Args:
        device: the pulsed device on either side, a spec or a device.
        refresh_upper: threshold for the fuller device, in units of w_max.
        refresh_lower: threshold for the emptier device, in units of w_max.
        reset_std: what a reset leaves, device units.
    """

    source = "aihwkit, OneSidedUnitCell; Nandakumar et al. 2020, Front. Neurosci. 14:406"

    device: Device | str = "exp_step"
    refresh_upper: float = 0.75
    refresh_lower: float = 0.25
    reset_std: float = 0.01

    def __post_init__(self) -> None:
        inner = inner_device(self, "device")
        if not isinstance(inner, Pulsed):
            raise NeurofaError(
                f"got one_sided(device={inner.name}); expected a pulsed device; use constant_step or exp_step"
            )
        if not 0 <= self.refresh_lower <= self.refresh_upper <= 1:
            raise NeurofaError(
                f"got one_sided(refresh_lower={self.refresh_lower}, refresh_upper={self.refresh_upper}); expected"
                " 0 <= refresh_lower <= refresh_upper <= 1; change the thresholds"
            )
        if not 0 <= self.reset_std <= inner.w_max:
            raise NeurofaError(
                f"got one_sided(reset_std={self.reset_std}); expected 0 to w_max = {inner.w_max:g}; lower it"
            )

    @property
    def inner(self) -> Pulsed:
        """The device on either side."""
        assert isinstance(self.device, Pulsed)  # noqa: S101 (narrows the type that the constructor checked)
        return self.device

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Draw fresh devices and write-verify the positive part on G+, the negative part on G-."""
        plus = self.inner.program(target.clamp(min=0), gen)
        minus = self.inner.program(target.neg().clamp_(min=0), gen)
        return {**pack("plus", plus), **pack("minus", minus)}

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write-verify both parts on the same devices."""
        plus = self.inner.reprogram(unpack("plus", cells), target.clamp(min=0), gen)
        minus = self.inner.reprogram(unpack("minus", cells), target.neg().clamp_(min=0), gen)
        return {**pack("plus", plus), **pack("minus", minus)}

    def value(self, cells: Cells) -> Tensor:
        """The weights scale (G+ - G-)."""
        return self.inner.value(unpack("plus", cells)) - self.inner.value(unpack("minus", cells))

    def granularity(self, cells: Cells) -> Tensor:
        """The nominal step of either device."""
        return self.inner.granularity(unpack("plus", cells))

    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        """Send the pulses that go up to G+, the others to G-, always upwards."""
        always = torch.ones_like(rise)
        after: Cells = {}
        for side, here in (("plus", rise), ("minus", 1 - rise)):
            share = None if spread is None else spread * here
            after |= pack(side, self.inner.advance(unpack(side, cells), count * here, always, gen, share))
        return after

    def settle(self, cells: Cells, gen: torch.Generator | None = None) -> Cells:
        """Decay of the devices, then the refresh of full pairs."""
        plus, minus = (self.inner.settle(unpack(side, cells), gen) for side in ("plus", "minus"))
        g_plus, g_minus = plus["weight"], minus["weight"]
        full = torch.maximum(g_plus, g_minus) > self.refresh_upper * self.inner.w_max
        full &= torch.minimum(g_plus, g_minus) > self.refresh_lower * self.inner.w_max
        mask = full.to(g_plus.dtype)
        difference = self.value({**pack("plus", plus), **pack("minus", minus)})
        after: Cells = {}
        for side, old, wanted in (("plus", plus, difference), ("minus", minus, -difference)):
            rest = normal(wanted, gen).abs_().mul_(self.reset_std).mul_(old["scale"])
            fresh = self.inner.reprogram(old, wanted.clamp(min=0) + rest, gen)
            moved = {key: torch.lerp(cell, fresh[key], mask) for key, cell in old.items() if fresh[key] is not cell}
            after |= pack(side, {**old, **moved})
        return after


@dataclass(frozen=True, kw_only=True)
class PcmGst(OneSided, name="pcm_gst"):
    """Phase-change memory (doped Ge2Sb2Te5) in training: a pair of one-sided devices with refresh, 200 states each."""

    source = "aihwkit, preset PCM (PCMPresetDevice and PCMPresetUnitCell)"
    fitted_from = "Nandakumar et al. 2020, Front. Neurosci. 14:406"
    verified = "read"
    tier = "single device"
    technology = "pcm"

    device: Device | str = (
        "exp_step(dw_min=0.01, dw_min_dtod=0.2, dw_min_std=0.6, w_max=2, w_min=0, w_max_dtod=0.1, w_min_dtod=0,"
        " up_down_dtod=0.05, a=-1, b=0, gamma_up=2.5, gamma_down=2.5, A_up=-27.235, A_down=-2.235, noise_add=0.042,"
        " noise_slope=0.108)"
    )
