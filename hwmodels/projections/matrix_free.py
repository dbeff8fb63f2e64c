"""A random matrix that is never stored: its entries are computed where they are needed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwmodels.numerics.noise_moments import NoiseSource
from hwmodels.numerics.random import lowbias32
from hwmodels.projection import Projection

BLOCK = 2**20
"""Entries that are computed at a time: some ten megabytes of temporary memory."""


class MatrixFree(Projection, name="matrix_free"):
    """A projection y = e B whose matrix is never stored: every entry is a hash of (seed, row, column).

    No memory grows with n_in n_out. Entries are whole numbers of 24 bits times a scale, so that they are the same on
    every device, and in double precision but for the rounding of the scale. Products with a batch are sums over blocks
    of rows.

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 n_in).
        signs: two values of equal size instead of uniform ones.
    """

    source = "counter-based generation: Salmon et al. 2011, SC'11, 16; integer mixing of C. Wellons (lowbias32)"

    seed: Tensor

    def __init__(self, *, gain: float = 1.0, signs: bool = False) -> None:
        super().__init__(gain=gain)
        self.signs = signs

    def _open(self, gen: torch.Generator) -> None:
        words = torch.randint(-(2**31), 2**31, (4,), generator=gen, dtype=torch.int64).to(torch.int32)
        self.register_buffer("seed", words)

    @property
    def exact(self) -> bool:
        return True

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        width = min(self.n_out, 1024)
        height = max(1, BLOCK // width)
        y = error.new_zeros(len(error), self.n_out)
        for column in range(0, self.n_out, width):
            part = y[:, column : column + width]
            for row in range(0, self.n_in, height):
                b = self.entries(row, min(row + height, self.n_in), column, min(column + width, self.n_out), error)
                part.addmm_(error[:, row : row + height], b)
        return y

    def entries(self, top: int, bottom: int, left: int, right: int, like: Tensor) -> Tensor:
        """Compute the block B[top:bottom, left:right].

        Args:
            top: first row.
            bottom: row after the last.
            left: first column.
            right: column after the last.
            like: gives dtype and device.
        """
        a, b, c, d = self.seed.unbind()
        rows = torch.arange(top, bottom, dtype=torch.int32, device=like.device).view(-1, 1)
        columns = torch.arange(left, right, dtype=torch.int32, device=like.device)
        # two words of 32 bits for every row and every column: one word would repeat among 10^5 of them
        x = lowbias32(lowbias32(rows ^ a) ^ lowbias32(columns ^ b))
        x = lowbias32(x.add_(lowbias32(rows ^ c)).add_(lowbias32(columns ^ d)))
        if self.signs:
            return x.lt(0).to(like.dtype).mul_(-2 * self.std).add_(self.std)
        # half a step up: whole numbers from -2^23 to 2^23 - 1 then lie evenly on both sides of zero
        half = 2.0**23
        return (x >> 8).to(like.dtype).add_(0.5).mul_(self.std * math.sqrt(3) / half)

    def dynamics(self, error: Tensor) -> tuple[NoiseSource, ...]:
        """Return no source: a pass is exact."""
        return ()

    def effective(self) -> Tensor:
        """Return the whole matrix: n_in n_out single-precision numbers."""
        like = torch.empty((), device=self.seed.device)
        return self.entries(0, self.n_in, 0, self.n_out, like)
