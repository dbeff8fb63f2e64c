"""Elementary functions that keep their precision near zero, in compiled kernels as well."""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 0.1
"""Bound of the series: below it the series is exact to 1e-8, above it exp(x) - 1 is exact to 1e-6."""


def expm1_(x: Tensor) -> Tensor:
    """Return exp(x) - 1, computed in place unless it is compiled.

    On a CPU torch's compiler turns ``expm1`` into exp(x) - 1, which is 0 for a small x. A compiled kernel therefore
    uses the series x (1 + x/2 (1 + x/3 (1 + x/4 (1 + x/5)))) for small numbers.

    Args:
        x: any shape; overwritten.
    """
    if not torch.compiler.is_compiling():
        return x.expm1_()
    series = x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5))))
    return torch.where(x.abs() < SMALL, series, x.exp() - 1)
