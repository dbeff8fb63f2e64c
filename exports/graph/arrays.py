"""Arrays with what they mean and in which unit, as every exporter meets them."""

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
        meaning: one line for somebody who has never heard of this package.
        axes: what every axis counts, such as ``(n_out, n_in)``.
        unit: one of :data:`UNITS`.
        state: where a learner keeps it, ``network:KEY`` or ``rule:KEY`` of a state dict; empty: nowhere.

    Raises:
        NeurofaError: an unknown unit, or a meaning that is empty.
    """

    values: Tensor
    meaning: str
    axes: str = ""
    unit: str = "1"
    state: str = ""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise NeurofaError(
                f"got unit '{self.unit}'; expected one of {', '.join(UNITS)}{did_you_mean(self.unit, UNITS)}"
            )
        if not self.meaning:
            raise NeurofaError("got an array without a meaning; expected one line; say what it is")

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return tuple(self.values.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix(Array):
    """Weights that a chip may hold as a matrix: one row an output, ``values.flatten(1)`` being (n_out, n_in).

    Args:
        role: what the weights are for.
        device: spec of the device that stores them.
        conductance: smallest and largest conductance of that device, S; None: it says none.
        faults: True where an element cannot be written, shaped as the values; None: not known.
        grid: bits and step of the words that store the weights exactly; None: they are no words.
    """

    role: Role = "forward"
    device: str = "digital"
    conductance: tuple[float, float] | None = None
    faults: Tensor | None = None
    grid: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        Array.__post_init__(self)
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
        """(n_out, n_in); a view where the memory allows."""
        return self.values.flatten(1)


def sized(array: Array, shape: tuple[int, ...], what: str) -> None:
    """Refuse an array of another shape.

    Raises:
        NeurofaError: naming what it was meant to be.
    """
    if array.shape != shape:
        raise NeurofaError(f"got {what} of shape {array.shape}; expected {shape}; check the layer that describes it")
