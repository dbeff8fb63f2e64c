"""Endurance: devices that wear out, and the ledger of their writes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import inner_device, pack, unpack
from hwmodels.device_models.pulses import PulseDriven, PulseTrain
from hwmodels.errors import NeurofaError
from hwmodels.numerics.random import normal
from hwmodels.registry import build, recipe

SOURCE = "log-normal lifetimes, a common abstraction; endurance figures differ by orders of magnitude (Lanza 2019)"


@dataclass(frozen=True, kw_only=True)
class Worn(Device):
    """A device that is written in cycles: each write costs one cycle where the change is not zero."""

    name = "wear"
    source = SOURCE

    device: Device | str
    endurance: float
    spread: float

    def __post_init__(self) -> None:
        inner_device(self, "device")
        if not self.endurance > 0:
            raise NeurofaError(f"got wear(endurance={self.endurance}); expected a positive number; use 1e999 to count")
        if not 0 <= self.spread < math.inf:
            raise NeurofaError(f"got wear(spread={self.spread}); expected 0 or more; change the value")

    def faults(self, cells: Cells) -> Tensor | None:
        return self.inner.faults(unpack("inner", cells))

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

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device anew; lifetimes and counts stay, and write-verify itself is not counted."""
        return {**cells, **pack("inner", self.inner.reprogram(unpack("inner", cells), target, gen))}

    def value(self, cells: Cells) -> Tensor:
        """The inner weights."""
        return self.inner.value(unpack("inner", cells))

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """An inner read: reading does not wear."""
        return self.inner.read(unpack("inner", cells), gen)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write where there is life left, and count."""
        alive = self._alive(cells)
        after = self._kept(cells, self.inner.write(unpack("inner", cells), change, gen), alive)
        return {**after, "cycles": torch.addcmul(cells["cycles"], change.sign().abs_(), alive)}

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        """Let time pass on the inner device."""
        return {**cells, **pack("inner", self.inner.relax(unpack("inner", cells), seconds, gen))}

    def read_variance(self, cells: Cells) -> Tensor:
        """Of the inner device."""
        return self.inner.read_variance(unpack("inner", cells))

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Of the inner device."""
        return self.inner.aged(unpack("inner", cells), seconds)

    def _alive(self, cells: Cells) -> Tensor:
        """1 where there is life left, else 0."""
        return torch.sub(cells["endurance"], cells["cycles"]).sign_().clamp_(min=0)

    def _kept(self, cells: Cells, new: Cells, alive: Tensor) -> Cells:
        """All cells, the inner ones new where there was life left."""
        after = dict(cells)
        for key, cell in new.items():
            old = cells[f"inner_{key}"]
            if cell is not old:
                fits = cell.shape == alive.shape
                after[f"inner_{key}"] = torch.lerp(old, cell, alive.to(cell.dtype)) if fits else cell
        return after


@dataclass(frozen=True, kw_only=True)
class WornByPulses(Worn, PulseDriven):
    """A pulse-driven device: each pulse costs one cycle."""

    name = "wear"

    @property
    def inner(self) -> PulseDriven:
        """What stores the weights."""
        assert isinstance(self.device, PulseDriven)  # noqa: S101 (narrows the type that the recipe checked)
        return self.device

    @property
    def train(self) -> PulseTrain | None:
        return self.inner.train

    def granularity(self, cells: Cells) -> Tensor:
        return self.inner.granularity(unpack("inner", cells))

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        return PulseDriven.write(self, cells, change, gen)

    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        """Send pulses where there is life left, and count them; the last ones of a life are sent in full."""
        count = count * self._alive(cells)
        if spread is not None:
            spread = spread * self._alive(cells)
        inner = self.inner.advance(unpack("inner", cells), count, rise, gen, spread)
        return {**cells, **pack("inner", inner), "cycles": cells["cycles"] + count}

    def settle(self, cells: Cells, gen: torch.Generator | None = None) -> Cells:
        old = unpack("inner", cells)
        new = self.inner.settle(old, gen)
        return cells if new is old else self._kept(cells, new, self._alive(cells))


@recipe("device", "wear", SOURCE)
def worn(*, device: Device | str = "constant_step", endurance: float = 1e6, spread: float = 0.0) -> Device:
    """Counts what every device has been through, and freezes it when its endurance is used up.

    A pulse costs a pulse-driven device one cycle, a write any other device one cycle where the change is not zero. A
    worn-out device keeps its last state. With an infinite endurance this is a plain ledger: its cell ``cycles`` holds
    the count.

    Cells: those of the inner device with ``inner_`` before their names; ``cycles`` and ``endurance`` (cycles), shaped
    as the weights.

    Args:
        device: what stores the weights, a spec or a device.
        endurance: median number of cycles of a device's life, > 0; 1e999 for a ledger.
        spread: standard deviation of ln(endurance) between devices.
    """
    inner = build("device", device)
    made = WornByPulses if isinstance(inner, PulseDriven) else Worn
    return made(device=inner, endurance=endurance, spread=spread)


def counted(device: Device, cells: Cells) -> tuple[Device, Cells]:
    """The same physical elements with a ledger around what is driven by pulses, or else around the whole device.

    Args:
        device: what stores the weights; one that keeps a ledger already is returned as it is.
        cells: its cells.

    Returns:
        A device that does the same, and its cells; counts begin at 0.
    """
    inner = device.inner
    if isinstance(device, Worn) or (isinstance(inner, Worn) and not isinstance(device, PulseDriven)):
        return device, cells
    if isinstance(inner, Device) and not isinstance(device, PulseDriven):
        held = unpack("inner", cells)
        made, kept = counted(inner, held)
        outer = {key: cell for key, cell in cells.items() if not key.startswith("inner_")}
        options = {f.name: getattr(device, f.name) for f in fields(device) if f.init}  # type: ignore[arg-type]
        return type(device)(**options | {"device": made}), {**outer, **pack("inner", kept)}
    like = device.value(cells)
    ledger = {"cycles": torch.zeros_like(like), "endurance": torch.full_like(like, math.inf)}
    return worn(device=device, endurance=math.inf), {**pack("inner", cells), **ledger}
