"""Arithmetic of a matrix: product, direction, transposed product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurofa.core.description import AffineDescription
from neurofa.core.directions import Direction, Outer
from neurofa.maps.affine_map import AffineMap
from neurofa.maps.analog import Product
from neurofa.maps.asymmetric import correlation_linear


class DenseMap(AffineMap):
    """Matrix product W x + b: (B, n_in) to (B, n_out).

    Args:
        n_in: inputs.
        n_out: outputs.
    """

    input_dims = 2

    def __init__(self, n_in: int, n_out: int) -> None:
        self.fan_in, self.channels, self.weight_shape = n_in, n_out, (n_out, n_in)

    # torch's own functions: a Python call in between would slow down the steps of small networks
    linear = staticmethod(nn.functional.linear)  # type: ignore[assignment]
    direction = staticmethod(Outer)  # type: ignore[assignment]
    outer = staticmethod(Outer)  # type: ignore[assignment]

    def transposed(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return delta @ weight

    def on_arrays(self, product: Product, x: Tensor, weight: Tensor) -> Tensor:
        return product(x, weight.t())

    def transposed_on_arrays(self, product: Product, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return product(delta, weight)

    def noise_correlation(self, y: Tensor, noise: Tensor) -> Direction:
        return correlation_linear(y, noise)

    def out_shape(self, in_shape: torch.Size) -> tuple[int, ...]:
        return (in_shape[0], self.channels)

    def describe(self, **shared: Any) -> AffineDescription:
        return AffineDescription(axes="(n_out, n_in)", **shared)

    def module(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        plain: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, self.fan_in, self.channels, bias=bias is not None, device=weight.device, dtype=weight.dtype
        )
        plain.weight.data.copy_(weight)
        if bias is not None:
            plain.bias.data.copy_(bias)
        return plain
