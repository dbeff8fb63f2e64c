"""Functions that keep their digits near zero, in compiled kernels too."""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 0.1
"""Below it the series is exact to 1e-8; above it, exp(x) - 1 to 1e-6."""


def expm1_(x: Tensor) -> Tensor:
    """exp(x) - 1, in place where it is not compiled.

    Torch's compiler makes exp(x) - 1 of ``expm1`` on a CPU, which is 0 for a small x; there, small numbers go through
    x (1 + x/2 (1 + x/3 (1 + x/4 (1 + x/5)))).

    Args:
        x: any shape.
    """
    if not torch.compiler.is_compiling():
        return x.expm1_()
    series = x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5))))
    return torch.where(x.abs() < SMALL, series, x.exp() - 1)
