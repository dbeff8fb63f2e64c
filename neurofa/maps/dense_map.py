"""The arithmetic of matrices, for every layer that has one: product, direction, way back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.event_rows import event_linear
from neurofa.core.layer import Direction, Outer
from neurofa.maps.affine import Affine
from neurofa.maps.analog import Product
from neurofa.maps.asymmetric import correlation_linear


class DenseMap(Affine):
    """An affine map of vectors, W x + b: (B, n_in) to (B, n_out)."""

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return event_linear(_vectors(x), weight, bias)

    def map(self, product: Product, x: Tensor, weight: Tensor) -> Tensor:
        return product(_vectors(x), weight.t())

    def factors(self, name: str) -> bool:
        return name == "weight"

    def outer(self, delta: Tensor, x: Tensor) -> Direction:
        return Outer(delta, x)

    def carry(self, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return delta @ weight

    def back(self, product: Product, delta: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return product(delta, weight)

    def correlate(self, y: Tensor, noise: Tensor) -> Direction:
        return correlation_linear(y, noise)

    def out_shape(self, in_shape: torch.Size) -> tuple[int, ...]:
        return (in_shape[0], self.channels)

    def module(self) -> nn.Module:
        weight = self.synapse("weight").weight.detach()
        plain: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, self.fan_in, self.channels, bias=self.bias, device=weight.device, dtype=weight.dtype
        )
        plain.weight.data.copy_(weight)
        if self.bias:
            plain.bias.data.copy_(self.synapse("bias").weight)
        tail = self.tail()
        return nn.Sequential(plain, *tail) if tail else plain


def _vectors(x: Tensor) -> Tensor:
    if x.dim() != 2:
        raise NeurofaError(
            f"got input of shape {tuple(x.shape[1:])} at a dense layer; expected a vector; flatten it, or put an"
            " nn.Linear in a Block to map tokens"
        )
    return x
