"""No number format: floats as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.format import Format


@dataclass(frozen=True, kw_only=True)
class Raw(Format, name="raw"):
    """Leave every number as it is: Q(x) = x, the same tensor."""

    source = "none: the floating-point numbers of the tensor"

    @property
    def bits(self) -> float:
        """Infinite: the format sets no limit, the tensor's dtype does."""
        return math.inf

    def quantize(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return ``x`` itself."""
        return x
