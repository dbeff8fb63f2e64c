"""Endurance: devices that wear out, and the ledger of their writes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.draws import normal
from hwmodels.errors import NeurofaError
from hwmodels.nested import inner_device, pack, unpack
from hwmodels.pulses import PulseDriven


@dataclass(frozen=True, kw_only=True)
class Wear(Device, name="wear"):
    """Counts what every device has been through, and freezes it when its endurance is used up.

    A write costs a pulse-driven device |change| / granularity pulses (the expected number), any other device one cycle
    where the change is not zero. A worn-out device keeps its last state. With an infinite endurance this is a plain
    ledger: its cell ``cycles`` holds the count.

    Cells: those of the inner device with ``inner_`` before their names; ``cycles`` and ``endurance`` (cycles), shaped
    as the weights.

    Args:
        device: what stores the weights, a spec or a device.
        endurance: median number of cycles of a device's life, > 0; 1e999 for a ledger.
        spread: standard deviation of ln(endurance) between devices.
    """

    source = "log-normal lifetimes, a common abstraction; endurance figures differ by orders of magnitude (Lanza 2019)"

    device: Device | str = "constant_step"
    endurance: float = 1e6
    spread: float = 0.0

    def __post_init__(self) -> None:
        inner_device(self, "device")
        if not self.endurance > 0:
            raise NeurofaError(f"got wear(endurance={self.endurance}); expected a positive number; use 1e999 to count")
        if not 0 <= self.spread < math.inf:
            raise NeurofaError(f"got wear(spread={self.spread}); expected 0 or more; change the value")

    @property
    def inner(self) -> Device:
        """What stores the weights."""
        assert isinstance(self.device, Device)  # noqa: S101 (narrows the type that the constructor built)
        return self.device

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device, and draw the lifetimes."""
        life = torch.full_like(target, self.endurance)
        if self.spread:
            life.mul_(normal(target, gen).mul_(self.spread).exp_())
        inner = self.inner.program(target, gen)
        return {**pack("inner", inner), "cycles": torch.zeros_like(target), "endurance": life}

    def value(self, cells: Cells) -> Tensor:
        """The inner weights."""
        return self.inner.value(unpack("inner", cells))

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """An inner read: reading does not wear."""
        return self.inner.read(unpack("inner", cells), gen)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write where there is life left, and count."""
        old = unpack("inner", cells)
        alive = cells["cycles"] < cells["endurance"]
        new = self.inner.write(old, change, gen)
        kept = {
            key: torch.where(alive, cell, old[key]) if cell.shape == alive.shape and cell is not old[key] else cell
            for key, cell in new.items()
        }
        if isinstance(self.inner, PulseDriven):
            cost = change.abs() / self.inner.granularity(old)
        else:
            cost = (change != 0).to(change.dtype)
        return {**cells, **pack("inner", kept), "cycles": torch.addcmul(cells["cycles"], cost, alive.to(cost.dtype))}

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        """Let time pass on the inner device."""
        return {**cells, **pack("inner", self.inner.relax(unpack("inner", cells), seconds, gen))}
