"""Endurance: devices that wear out, and the ledger of their writes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import Nested, with_prefix
from hwmodels.device_models.pulses import PulseDriven, PulseTrain
from hwmodels.errors import NOT_NEGATIVE, Condition, check_options
from hwmodels.numerics.random import normal
from hwmodels.registry import build, recipe

SOURCE = "log-normal lifetimes, a common abstraction; endurance figures differ by orders of magnitude (Lanza 2019)"
LIFETIME = Condition(lambda v: v > 0, "a positive number")


@dataclass(frozen=True, kw_only=True)
class Worn(Nested):
    """A device with a finite number of writes: each write costs a weight one cycle where its change is not zero."""

    name = "wear"
    source = SOURCE

    device: Device | str
    endurance: float
    """Median number of cycles in the life of an element."""
    spread: float
    """Standard deviation of ln(endurance) between elements."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self, LIFETIME, "endurance", remedy="use 1e999 to count")
        check_options(self, NOT_NEGATIVE, "spread")

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Draw the lifetimes, then program the inner device."""
        life = torch.full_like(target, self.endurance)
        if self.spread:
            life.mul_(normal(target, gen).mul_(self.spread).exp_())
        return {**super().program(target, gen), "cycles": torch.zeros_like(target), "endurance": life}

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write to the devices that have life left, and count the cycle."""
        alive = self._alive(cells)
        after = self._kept(cells, self.inner.write(self.inner_cells(cells), change, gen), alive)
        return {**after, "cycles": torch.addcmul(cells["cycles"], change.sign().abs_(), alive)}

    def _alive(self, cells: Cells) -> Tensor:
        """Return 1 where there is life left, else 0."""
        return torch.sub(cells["endurance"], cells["cycles"]).sign_().clamp_(min=0)

    def _kept(self, cells: Cells, new: Cells, alive: Tensor) -> Cells:
        """Return all cells; the inner ones are new where there was life left."""
        after = dict(cells)
        for key, cell in new.items():
            old = cells[f"inner_{key}"]
            if cell is not old:  # a cell that the write returned as it was needs no choice
                fits = cell.shape == alive.shape
                after[f"inner_{key}"] = torch.lerp(old, cell, alive.to(cell.dtype)) if fits else cell
        return after


@dataclass(frozen=True, kw_only=True)
class WornByPulses(Worn, PulseDriven):
    """A pulse-driven device with a finite number of pulses: each pulse costs one cycle."""

    name = "wear"

    @property
    def inner(self) -> PulseDriven:
        """The pulse-driven device."""
        return cast("PulseDriven", self.device)  # the recipe has checked it

    @property
    def train(self) -> PulseTrain | None:
        return self.inner.train

    def granularity(self, cells: Cells) -> Tensor:
        return self.inner.granularity(self.inner_cells(cells))

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        return PulseDriven.write(self, cells, change, gen)

    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        """Send pulses where there is life left, and count them; the last pulses of a life are all sent."""
        count = count * self._alive(cells)
        if spread is not None:
            spread = spread * self._alive(cells)
        inner = self.inner.advance(self.inner_cells(cells), count, rise, gen, spread)
        return {**self.with_inner(cells, inner), "cycles": cells["cycles"] + count}

    def settle(self, cells: Cells, gen: torch.Generator | None = None) -> Cells:
        old = self.inner_cells(cells)
        new = self.inner.settle(old, gen)
        return cells if new is old else self._kept(cells, new, self._alive(cells))


@recipe("device", "wear", SOURCE)
def worn(*, device: Device | str = "constant_step", endurance: float = 1e6, spread: float = 0.0) -> Device:
    """Count the cycles of every device; a device whose endurance is used up keeps its last state.

    A pulse costs a pulse-driven device one cycle, a write any other device one cycle where the change is not zero.
    Write-verify and reads are not counted. With an infinite endurance nothing else happens: the cell ``cycles`` holds
    the count.

    Cells: those of the inner device with ``inner_`` before their names; ``cycles`` and ``endurance`` (cycles), shaped
    as the weights.

    Args:
        device: the device that stores the weights, or its spec.
        endurance: median number of cycles of a device's life, > 0; 1e999 for a ledger.
        spread: standard deviation of ln(endurance) between devices.
    """
    inner = build("device", device)
    model = WornByPulses if isinstance(inner, PulseDriven) else Worn
    return model(device=inner, endurance=endurance, spread=spread)


def add_ledger(device: Device, cells: Cells) -> tuple[Device, Cells]:
    """Wrap a device so that its writes are counted (:func:`worn` with an infinite endurance).

    Of nested devices, the outermost one that is driven by pulses is wrapped, so that pulses are counted; where none is,
    the innermost. A device that counts already is returned unchanged.

    Args:
        device: the device.
        cells: the cells of the device.

    Returns:
        A device with the same behaviour, and its cells with ``cycles``, which begin at 0.
    """
    if isinstance(device, Worn):
        return device, cells
    if isinstance(device, Nested) and not isinstance(device, PulseDriven):
        if isinstance(device.inner, Worn):
            return device, cells
        held = device.inner_cells(cells)
        inner, kept = add_ledger(device.inner, held)
        own = {key: cell for key, cell in cells.items() if not key.startswith("inner_")}
        return replace(device, device=inner), device.with_inner(own, kept)
    like = device.value(cells)
    ledger = {"cycles": torch.zeros_like(like), "endurance": torch.full_like(like, math.inf)}
    return worn(device=device, endurance=math.inf), {**with_prefix("inner", cells), **ledger}


def ledgers(cells: Cells) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the counted writes of every array of devices, from the cells ``cycles`` and ``endurance``.

    Args:
        cells: of a device around or with :func:`worn`; other cells give an empty dict.

    Returns:
        Cycles and endurance, both shaped as the weights, by the name of the array: its prefix in the cells, such as
        ``fast``, or an empty name where there is one array.
    """
    counting = [key.removesuffix("cycles") for key in cells if key == "cycles" or key.endswith("_cycles")]
    return {
        prefix.replace("inner_", "").strip("_"): (cells[f"{prefix}cycles"], cells[f"{prefix}endurance"])
        for prefix in counting
    }
