"""Weights as whole numbers with scale and zero point, block of rows by block of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from exports.graph.arrays import Matrix
from hwmodels.errors import NeurofaError

BLOCK = 2**20
"""Numbers that are worked on at a time: some megabytes with everything around them."""


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """w = scale (q - zero), q whole numbers of ``bits`` bits.

    Symmetric: zero = 0 and q in +-(2^(bits-1) - 1), scale = max|w| / (2^(bits-1) - 1). Asymmetric: q from -2^(bits-1)
    to 2^(bits-1) - 1 between the smallest and the largest weight, 0 among them. Rounding is to the nearest, half to
    even, as in ONNX QuantizeLinear; so a weight is off by half a scale at most.

    Args:
        bits: width of one number, 2 to 16.
        per: one scale for the whole ``tensor``, or one for each row (``channel``).
        symmetric: see above.
    """

    bits: int = 8
    per: Literal["tensor", "channel"] = "channel"
    symmetric: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16 or self.per not in ("tensor", "channel"):
            raise NeurofaError(
                f"got a number format of {self.bits} bits per {self.per}; expected 2 to 16 bits, per tensor or channel;"
                " change it"
            )

    @property
    def ends(self) -> tuple[int, int]:
        """Smallest and largest code."""
        top = 2 ** (self.bits - 1) - 1
        return (-top if self.symmetric else -top - 1), top

    @property
    def dtype(self) -> torch.dtype:
        """The integers that hold a code in files."""
        return torch.int8 if self.bits <= 8 else torch.int16


def row_blocks(values: Tensor) -> Iterator[slice]:
    """Rows that are worked on together."""
    rows = len(values)
    step = max(1, BLOCK // max(1, values[0].numel() if rows else 1))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


@dataclass(frozen=True)
class Scales:
    """Of one matrix."""

    scale: Tensor
    """(n_out,) or (1,): weight of one step."""
    zero: Tensor
    """(n_out,) or (1,), int32: code of the weight 0."""
    format: NumberFormat

    def codes(self, values: Tensor, rows: slice) -> Tensor:
        """Codes of some rows, in :attr:`NumberFormat.dtype`."""
        scale, zero = self._of(rows, values.ndim)
        low, high = self.format.ends
        return (values[rows] / scale).round_().add_(zero).clamp_(low, high).to(self.format.dtype)

    def values(self, codes: Tensor, rows: slice) -> Tensor:
        """The weights that codes of some rows stand for."""
        scale, zero = self._of(rows, codes.ndim)
        return (codes.to(scale.dtype) - zero) * scale

    def _of(self, rows: slice, ndim: int) -> tuple[Tensor, Tensor]:
        shape = (-1,) + (1,) * (ndim - 1)
        some = rows if len(self.scale) > 1 else slice(None)
        return self.scale[some].view(shape), self.zero[some].view(shape).to(self.scale.dtype)


def scales(matrix: Matrix, wanted: NumberFormat) -> Scales:
    """Scales and zero points; weights that are words already keep their own grid, and lose nothing.

    Args:
        matrix: the weights.
        wanted: format of weights that are no words.
    """
    values = matrix.values
    if matrix.grid is not None:
        bits, step = matrix.grid
        own = NumberFormat(bits=bits, per="tensor") if bits <= 16 else wanted
        if bits <= 16:
            return Scales(values.new_full((1,), step), torch.zeros(1, dtype=torch.int32), own)
    ends = [values[rows].flatten(1).aminmax(dim=1) for rows in row_blocks(values)]
    low = torch.cat([e.min for e in ends]).clamp_max(0)
    high = torch.cat([e.max for e in ends]).clamp_min(0)
    if wanted.per == "tensor":
        low, high = low.amin(0, keepdim=True), high.amax(0, keepdim=True)
    first, last = wanted.ends
    tiny = torch.finfo(values.dtype).tiny
    if wanted.symmetric:
        scale = (torch.maximum(high, -low) / last).clamp_min_(tiny)
        return Scales(scale, torch.zeros(len(scale), dtype=torch.int32), wanted)
    scale = ((high - low) / (last - first)).clamp_min_(tiny)
    zero = (first - low / scale).round_().clamp_(first, last).to(torch.int32)
    return Scales(scale, zero, wanted)
