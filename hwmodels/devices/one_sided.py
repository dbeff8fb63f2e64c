"""Pairs of devices that can only be increased, and phase-change memory trained with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import build_inner, with_prefix, without_prefix
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.device_models.pulses import PulseDriven
from hwmodels.errors import Condition, NeurofaError, check_options
from hwmodels.numerics.random import normal, uniform
from hwmodels.provenance import Provenance

SIDES = ("plus", "minus")


@dataclass(frozen=True, kw_only=True)
class OneSided(PulseDriven, Provenance, name="one_sided"):
    """A weight w = scale (G+ - G-) whose devices only ever increase: up pulses go to G+, down pulses to G-.

    Both fill up in time. After every mini-batch a pair is refreshed where one device is above refresh_upper w_max and
    the other above refresh_lower w_max: both are reset to |reset_std xi| and the difference is written back on one
    side, open-loop: as many pulses as steps of the nominal size make the difference, floor(k + U) with k = |difference|
    / granularity, at most ``refresh_pulses``. What those pulses do is not verified, so that a device whose steps differ
    from the nominal one loses or gains at a refresh. In a nearly full pair a write also realises less than requested.
    The states themselves are compared with the thresholds, without the read noise of a converter.

    Cells: those of the device twice, with ``plus_`` and ``minus_`` before their names.

    Args:
        device: the pulsed device on either side, or its spec.
        refresh_upper: threshold for the fuller device, in units of w_max.
        refresh_lower: threshold for the emptier device, in units of w_max.
        reset_std: what a reset leaves, device units.
        refresh_pulses: most pulses that write a difference back, at least 1; None writes it back exactly, by
            write-verify.
    """

    source = "aihwkit, OneSidedUnitCell; Nandakumar et al. 2020, Front. Neurosci. 14:406"
    revision = 2

    device: Device | str = "exp_step"
    refresh_upper: float = 0.75
    refresh_lower: float = 0.25
    reset_std: float = 0.01
    refresh_pulses: int | None = 31

    def __post_init__(self) -> None:
        inner = build_inner(self, "device")
        if not isinstance(inner, Pulsed):
            raise NeurofaError(
                f"got one_sided(device={inner.name}); expected a pulsed device; use constant_step or exp_step"
            )
        if not 0 <= self.refresh_lower <= self.refresh_upper <= 1:
            raise NeurofaError(
                f"got one_sided(refresh_lower={self.refresh_lower}, refresh_upper={self.refresh_upper}); expected"
                " 0 <= refresh_lower <= refresh_upper <= 1; change the thresholds"
            )
        within = Condition(lambda std: 0 <= std <= inner.w_max, f"0 to w_max = {inner.w_max:g}")
        check_options(self, within, "reset_std", remedy="lower it")
        some = Condition(lambda n: n is None or n >= 1, "1 or more, or None")
        check_options(self, some, "refresh_pulses", remedy="31 is the default")

    @property
    def inner(self) -> Pulsed:
        """The device on either side."""
        return cast("Pulsed", self.device)  # the constructor has checked it

    def static_errors(self) -> dict[str, Device]:
        return self.inner.static_errors()

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Draw new devices and write-verify the positive part on G+, the negative part on G-."""
        plus = self.inner.program(target.clamp(min=0), gen)
        minus = self.inner.program(target.neg().clamp_(min=0), gen)
        return {**with_prefix("plus", plus), **with_prefix("minus", minus)}

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write-verify both parts on the same devices."""
        plus = self.inner.reprogram(without_prefix("plus", cells), target.clamp(min=0), gen)
        minus = self.inner.reprogram(without_prefix("minus", cells), target.neg().clamp_(min=0), gen)
        return {**with_prefix("plus", plus), **with_prefix("minus", minus)}

    def value(self, cells: Cells) -> Tensor:
        """Return the weights scale (G+ - G-)."""
        return self.inner.value(without_prefix("plus", cells)) - self.inner.value(without_prefix("minus", cells))

    def granularity(self, cells: Cells) -> Tensor:
        """Return the nominal step of either device."""
        return self.inner.granularity(without_prefix("plus", cells))

    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        """Send the pulses that go up to G+, the others to G-, always upwards."""
        up = torch.ones_like(rise)
        after: Cells = {}
        for side, chosen in zip(SIDES, (rise, 1 - rise), strict=True):
            share = None if spread is None else spread * chosen
            own = self.inner.advance(without_prefix(side, cells), count * chosen, up, gen, share)
            after |= with_prefix(side, own)
        return after

    def settle(self, cells: Cells, gen: torch.Generator | None = None) -> Cells:
        """End a mini-batch: decay of the devices, then the refresh of full pairs."""
        plus, minus = (self.inner.settle(without_prefix(side, cells), gen) for side in SIDES)
        g_plus, g_minus = plus["weight"], minus["weight"]
        full = torch.maximum(g_plus, g_minus) > self.refresh_upper * self.inner.w_max
        full &= torch.minimum(g_plus, g_minus) > self.refresh_lower * self.inner.w_max
        # a float mask: interpolating is faster on a CPU than picking
        mask = full.to(g_plus.dtype)
        difference = self.value({**with_prefix("plus", plus), **with_prefix("minus", minus)})
        after: Cells = {}
        for side, old, wanted in (("plus", plus, difference), ("minus", minus, -difference)):
            fresh = self._rewritten(old, wanted.clamp(min=0), gen)
            moved = {key: torch.lerp(cell, fresh[key], mask) for key, cell in old.items() if fresh[key] is not cell}
            after |= with_prefix(side, {**old, **moved})
        return after

    def _rewritten(self, cells: Cells, wanted: Tensor, gen: torch.Generator | None) -> Cells:
        """Reset the devices of one side, which leaves a residue, and write what is wanted (>= 0) on them."""
        residue = normal(wanted, gen).abs_().mul_(self.reset_std).mul_(cells["scale"])
        if self.refresh_pulses is None:
            return self.inner.reprogram(cells, wanted + residue, gen)
        empty = self.inner.reprogram(cells, residue, gen)
        k = (wanted / self.inner.granularity(cells)).clamp_(max=self.refresh_pulses)
        count = uniform(k, gen).add_(k).floor_()
        return self.inner.advance(empty, count, torch.ones_like(count), gen)


@dataclass(frozen=True, kw_only=True)
class PcmGst(OneSided, name="pcm_gst"):
    """Phase-change memory (doped Ge2Sb2Te5) in training: a pair of one-sided devices with refresh, 200 states each.

    Of up to 10 pulses at once from an empty device the mean is up to 10 % below and the spread up to 15 % off that of
    single ones; of 100 at once the mean is 25 % too large and the spread 45 % too small, since the noise of single ones
    keeps a device from its bound. ``pulse_trains`` sends single ones.
    """

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
