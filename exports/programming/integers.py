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
"""Numbers that are processed at a time: some megabytes with everything around them."""


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """w = scale (q - zero), with whole numbers q of ``bits`` bits.

    Symmetric: zero = 0, q in +-(2^(bits-1) - 1) and scale = max|w| / (2^(bits-1) - 1). Asymmetric: q from -2^(bits-1)
    to 2^(bits-1) - 1 between the smallest and the largest weight, 0 among them. Rounding is to the nearest, half to
    even, as in ONNX QuantizeLinear; a weight is therefore off by half a scale at most.

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
        """Integer type of a code in files."""
        return torch.int8 if self.bits <= 8 else torch.int16


def row_blocks(values: Tensor) -> Iterator[slice]:
    """Yield the rows of a tensor in blocks of about :data:`BLOCK` numbers."""
    rows = len(values)
    step = max(1, BLOCK // max(1, values[0].numel() if rows else 1))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def per_row(values: Tensor, ndim: int) -> Tensor:
    """Return one number for each row, (n,), in a shape that broadcasts over the other axes of an ``ndim`` tensor."""
    return values.view(-1, *[1] * (ndim - 1))


@dataclass(frozen=True)
class Quantization:
    """Scale and zero point of one matrix."""

    scale: Tensor
    """(n_out,) or (1,): weight of one step."""
    zero: Tensor
    """(n_out,) or (1,), int32: code of the weight 0."""
    format: NumberFormat

    def codes(self, values: Tensor, rows: slice) -> Tensor:
        """Return the codes of some rows, in :attr:`NumberFormat.dtype`.

        Args:
            values: all weights, (n_out, ...).
            rows: the rows whose codes are wanted.
        """
        scale, zero = self._broadcast(rows, values.ndim)
        low, high = self.format.ends
        return (values[rows] / scale).round_().add_(zero).clamp_(low, high).to(self.format.dtype)

    def weights(self, codes: Tensor, rows: slice) -> Tensor:
        """Return the weights that the codes of some rows stand for.

        Args:
            codes: codes of these rows alone.
            rows: which rows of the matrix they are.
        """
        scale, zero = self._broadcast(rows, codes.ndim)
        return (codes.to(scale.dtype) - zero) * scale

    def _broadcast(self, rows: slice, ndim: int) -> tuple[Tensor, Tensor]:
        chosen = rows if len(self.scale) > 1 else slice(None)
        return per_row(self.scale[chosen], ndim), per_row(self.zero[chosen], ndim).to(self.scale.dtype)


def quantization_of(matrix: Matrix, wanted: NumberFormat) -> Quantization:
    """Return scales and zero points of a matrix; weights that are digital words keep their own grid, without loss.

    Args:
        matrix: the weights, (n_out, ...).
        wanted: format of weights that are no words.
    """
    values = matrix.values
    if matrix.grid is not None and matrix.grid[0] <= 16:
        bits, step = matrix.grid
        own = NumberFormat(bits=bits, per="tensor")
        return Quantization(values.new_full((1,), step), torch.zeros(1, dtype=torch.int32), own)
    ends = [values[rows].flatten(1).aminmax(dim=1) for rows in row_blocks(values)]
    # zero lies in the range, so that the weight 0 has a code of its own
    low = torch.cat([e.min for e in ends]).clamp_max(0)
    high = torch.cat([e.max for e in ends]).clamp_min(0)
    if wanted.per == "tensor":
        low, high = low.amin(0, keepdim=True), high.amax(0, keepdim=True)
    first, last = wanted.ends
    tiny = torch.finfo(values.dtype).tiny  # the scale of rows of zeros, which would divide by 0
    if wanted.symmetric:
        scale = (torch.maximum(high, -low) / last).clamp_min_(tiny)
        return Quantization(scale, torch.zeros(len(scale), dtype=torch.int32), wanted)
    scale = ((high - low) / (last - first)).clamp_min_(tiny)
    zero = (first - low / scale).round_().clamp_(first, last).to(torch.int32)
    return Quantization(scale, zero, wanted)
