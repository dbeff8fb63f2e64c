"""Three values: -1, 0 and +1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NOT_NEGATIVE, check_options
from hwmodels.format import Format


@dataclass(frozen=True, kw_only=True)
class Ternary(Format, name="ternary"):
    """Keep the sign of large numbers: Q(x) = sign(x) 1(|x| > theta), with values -1, 0 and +1.

    A binary optical modulator projects such a code in two frames, one for each sign. The straight-through gradient is
    zero where |x| > 1.

    Args:
        threshold: theta in the unit of x, >= 0; 0.1 suits the error of a softmax, which lies in [-1, 1].
        relative: theta is ``threshold`` times the mean |x| of the tensor instead (0.7 in ternary weight networks).
    """

    source = (
        "Launay et al. 2020, arXiv 2006.01475 (ternary error); Li et al. 2016, arXiv 1605.04711 (relative threshold)"
    )

    threshold: float = 0.1
    relative: bool = False

    def __post_init__(self) -> None:
        check_options(self, NOT_NEGATIVE, "threshold", remedy="0.1 is the default")

    @property
    def bits(self) -> float:
        """The information of three values, log2 3 = 1.58 bit."""
        return math.log2(3)

    def quantize(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return -1, 0 or +1 for every entry; no randomness."""
        x = x.detach()
        size = x.abs()
        theta = size.mean() * self.threshold if self.relative else self.threshold
        # sign(NaN) is 0, which would read as "no error": NaN has to stay visible
        return torch.where(x.isnan(), x, x.sign() * (size > theta))

    def inside(self, x: Tensor) -> Tensor:
        """Return |x| <= 1, booleans shaped as ``x``."""
        return x.abs() <= 1
