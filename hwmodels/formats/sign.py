"""One bit: the sign."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.format import Format


@dataclass(frozen=True, kw_only=True)
class Sign(Format, name="sign"):
    """Keep the sign alone: Q(x) = -1 for x < 0, +1 for x > 0, and 0 at exactly 0, where there is no sign to send.

    The straight-through gradient is zero where |x| > 1.
    """

    source = "Hubara et al. 2016, arXiv 1602.02830, eq. 1 (there Q(0) = +1)"

    @property
    def bits(self) -> float:
        """One bit; exact zeros, which floats of a network hardly ever are, are not counted."""
        return 1.0

    def quantize(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return -1, 0 or +1 for every entry; no randomness."""
        x = x.detach()
        # sign(NaN) is 0, which would read as "no error": NaN has to stay visible
        return torch.where(x.isnan(), x, x.sign())

    def inside(self, x: Tensor) -> Tensor:
        """Return |x| <= 1, booleans shaped as ``x``."""
        return x.abs() <= 1
