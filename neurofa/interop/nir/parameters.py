"""Values of NIR nodes as plain numbers: sizes of windows, and constants of neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Values = np.ndarray[Any, np.dtype[np.float64]]


def integers(value: Any, n: int) -> tuple[int, ...]:
    """Return a size along each of n axes, from one number or n of them."""
    return tuple(int(v) for v in np.broadcast_to(np.asarray(value).reshape(-1), (n,)))


def padding_of(value: Any, n: int) -> tuple[int, ...] | str:
    """Return the padding along each of n axes, or ``same`` or ``valid``."""
    if isinstance(value, bytes):
        return value.decode()
    return str(value) if isinstance(value, str) else integers(value, n)


def values_of(value: Any, shape: tuple[int, ...]) -> Values:
    """Return a constant of neurons in double precision, one value for each neuron.

    Args:
        value: one number, or an array that broadcasts to the shape.
        shape: of the neurons.
    """
    return np.broadcast_to(np.asarray(value, dtype=np.float64), shape).copy()


def collapsed(values: Values) -> float | Tensor:
    """Return one number where all values are equal, since traces are then shared; else a tensor."""
    first = float(values.flat[0])
    return first if bool((values == first).all()) else torch.from_numpy(values)


def by_channel(values: Values) -> Values | None:
    """Return one value for each index of the first axis; None: they differ inside of one."""
    rows = values.reshape(len(values), -1)
    return rows[:, 0].copy() if bool((rows == rows[:, :1]).all()) else None
