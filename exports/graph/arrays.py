"""Arrays with their meaning and unit, as every exporter reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError, did_you_mean

UNITS = ("1", "S", "uS", "V", "s", "rad", "nm", "A", "dB", "linewidth")
"""Units of stored arrays; "1" is a number without a unit."""

Role = Literal["forward", "feedback", "factor"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Array:
    """A tensor with its meaning and unit.

    Args:
        values: the numbers themselves, never a copy.
        meaning: one line for a reader who does not know this package.
        axes: what every axis counts, such as ``(n_out, n_in)``.
        unit: one of :data:`UNITS`.
        state: key of the state dict that holds the tensor, ``network:KEY`` or ``rule:KEY``; empty: none does.
        device: spec of the device that stores the numbers.

    Raises:
        NeurofaError: the unit is unknown, or the meaning is empty.
    """

    values: Tensor
    meaning: str
    axes: str = ""
    unit: str = "1"
    state: str = ""
    device: str = "digital"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise NeurofaError(
                f"got unit '{self.unit}'; expected one of {', '.join(UNITS)}{did_you_mean(self.unit, UNITS)}"
            )
        if not self.meaning:
            raise NeurofaError("got an array without a meaning; expected one line; say what it is")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self.values.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix(Array):
    """Weights that a chip may hold as a matrix: one row for each output, ``values.flatten(1)`` being (n_out, n_in).

    Args:
        role: what the weights are for.
        conductance: smallest and largest conductance of the device, S; None: the device names none.
        faults: bool, shaped as the values, True where an element cannot be written; None: unknown.
        grid: bits and step of the digital words that store the weights exactly; None: the weights are no words.
    """

    role: Role = "forward"
    conductance: tuple[float, float] | None = None
    faults: Tensor | None = None
    grid: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.values.ndim < 2:
            raise NeurofaError(
                f"got weights of shape {self.shape} for a matrix; expected two axes or more; use Array for vectors"
            )
        if self.faults is not None and (tuple(self.faults.shape) != self.shape or self.faults.dtype != torch.bool):
            raise NeurofaError(
                f"got faults of shape {tuple(self.faults.shape)}, {self.faults.dtype}; expected bool, {self.shape};"
                " make one mask for the weights"
            )
        if self.conductance is not None and not 0 <= self.conductance[0] < self.conductance[1] < math.inf:
            raise NeurofaError(
                f"got conductances from {self.conductance[0]} to {self.conductance[1]} S; expected 0 <= smallest <"
                " largest; change them"
            )

    @property
    def flat(self) -> Tensor:
        """The weights as (n_out, n_in); a view where the memory layout allows."""
        return self.values.flatten(1)


def require_shape(array: Array, shape: tuple[int, ...], what: str) -> None:
    """Refuse an array of another shape.

    Args:
        array: the array.
        shape: the expected shape.
        what: name of the array in the message.

    Raises:
        NeurofaError: the shapes differ.
    """
    if array.shape != shape:
        raise NeurofaError(f"got {what} of shape {array.shape}; expected {shape}; check the layer that describes it")
