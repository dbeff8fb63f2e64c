"""Devices around other devices: their cells are stored together, under prefixed names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from hwmodels.device import AgeingCells, Cells, Device, relaxed
from hwmodels.errors import NeurofaError
from hwmodels.registry import build


def build_inner(outer: Device, key: str) -> Device:
    """Build the inner device of a frozen one from its spec, in place; the outer one takes over its declarations.

    Args:
        outer: while it is being constructed.
        key: field of ``outer`` that holds the device or its spec.

    Raises:
        NeurofaError: the field holds something else.
    """
    inner = build("device", getattr(outer, key))
    if not isinstance(inner, Device):
        raise NeurofaError(
            f"got {type(inner).__name__} for {outer.name}({key}=...); expected a device or its spec; use digital"
        )
    object.__setattr__(outer, key, inner)
    for declared in ("bounded", "factored", "noisy"):
        object.__setattr__(outer, declared, getattr(inner, declared))
    return inner


@dataclass(frozen=True, kw_only=True)
class Nested(Device, AgeingCells):
    """A device around another one that stores the weights; here every function but ``write`` goes to the inner device.

    Cells: those of the inner device with ``inner_`` before their names, and those that a subclass adds.

    Args:
        device: the inner device, or its spec.
    """

    prefixed: ClassVar[bool] = True
    """Whether the cells of the inner device have the prefix; False: they are all the cells there are."""

    device: Device | str

    def __post_init__(self) -> None:
        build_inner(self, "device")

    @property
    def inner(self) -> Device:
        """The device that stores the weights."""
        return cast("Device", self.device)  # the constructor has built it

    def inner_cells(self, cells: Cells) -> Cells:
        """Return the cells of the inner device, under its own names."""
        return without_prefix("inner", cells) if self.prefixed else cells

    def with_inner(self, cells: Cells, inner: Cells) -> Cells:
        """Return all cells with those of the inner device replaced by ``inner``."""
        return {**cells, **with_prefix("inner", inner)} if self.prefixed else inner

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        return self.with_inner({}, self.inner.program(target, gen))

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        return self.with_inner(cells, self.inner.reprogram(self.inner_cells(cells), target, gen))

    def value(self, cells: Cells) -> Tensor:
        return self.inner.value(self.inner_cells(cells))

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        return self.inner.read(self.inner_cells(cells), gen)

    def read_variance(self, cells: Cells) -> Tensor:
        return self.inner.read_variance(self.inner_cells(cells))

    def cell_unit(self, key: str) -> str:
        return self.inner.cell_unit(key.removeprefix("inner_"))

    def faults(self, cells: Cells) -> Tensor | None:
        return self.inner.faults(self.inner_cells(cells))

    def static_errors(self) -> dict[str, Device]:
        return self.inner.static_errors()

    @property
    def ageing(self) -> AgeingCells | None:
        """Return this device if the inner device ages, else None."""
        return None if self.inner.ageing is None else self

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        return self.with_inner(cells, relaxed(self.inner, self.inner_cells(cells), seconds, gen))

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        ageing = self.inner.ageing
        return None if ageing is None else ageing.aged(self.inner_cells(cells), seconds)


def device_chain(device: Device) -> list[Device]:
    """Return a device and those inside it, outermost first."""
    chain = [device]
    while (inner := chain[-1].inner) is not None:
        chain.append(inner)
    return chain


def with_prefix(prefix: str, cells: Cells) -> Cells:
    """Return the cells with ``prefix_`` before their names."""
    return {f"{prefix}_{key}": cell for key, cell in cells.items()}


def without_prefix(prefix: str, cells: Cells) -> Cells:
    """Return the cells whose names begin with ``prefix_``, by the rest of their names."""
    return {key.removeprefix(f"{prefix}_"): cell for key, cell in cells.items() if key.startswith(f"{prefix}_")}
