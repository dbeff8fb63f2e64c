"""Devices made of other devices: their cells live together under prefixed names."""

from __future__ import annotations

from hwmodels.device import Cells, Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build


def inner_device(outer: Device, key: str) -> Device:
    """Build the inner device of a frozen one from its spec, in place; what it declares holds for the outer too.

    Args:
        outer: while it is being constructed.
        key: its field that holds the device or its spec.

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


def chain(device: Device) -> list[Device]:
    """A device and those inside it, outermost first."""
    found = [device]
    while (inner := found[-1].inner) is not None:
        found.append(inner)
    return found


def pack(prefix: str, cells: Cells) -> Cells:
    """The cells with ``prefix`` before their names."""
    return {f"{prefix}_{key}": cell for key, cell in cells.items()}


def unpack(prefix: str, cells: Cells) -> Cells:
    """The cells whose names begin with ``prefix``, without it."""
    return {key.removeprefix(f"{prefix}_"): cell for key, cell in cells.items() if key.startswith(f"{prefix}_")}
