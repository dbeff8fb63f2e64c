"""Affine maps between the nodes of a NIR graph while layers are made from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurofa.interop.nir.chain import Link
from neurofa.interop.nir.parameters import Values, integers, padding_of
from neurofa.interop.nir.read import kind_of


@dataclass(frozen=True)
class Map:
    """Weights of an affine map that has no layer yet: (n_out, n_in) of a dense one, (C_out, C_in, k, k) of an image."""

    weight: Values
    bias: Values | None = None
    stride: int = 1
    padding: int = 0
    pool: tuple[int, int] | None = None
    """Side and stride of the pooling by means behind it; None: there is none."""
    identity: bool = False
    """Whether the graph has no weights here."""

    @property
    def spatial(self) -> bool:
        """Whether it is a convolution."""
        return self.weight.ndim == 4

    def scaled(self, factors: Values) -> Map:
        """Return the map with another scale of every output or channel.

        Args:
            factors: (n_out,).
        """
        weight = self.weight * factors.reshape(-1, *[1] * (self.weight.ndim - 1))
        return replace(self, weight=weight, bias=None if self.bias is None else self.bias * factors)

    def shifted(self, offsets: Values) -> Map:
        """Return the map with numbers added to every output or channel.

        Args:
            offsets: (n_out,).
        """
        if not offsets.any():
            return self
        return replace(self, bias=offsets if self.bias is None else self.bias + offsets)


def map_of(link: Link) -> Map | None:
    """Return the map of a node; None: no layer of spiking neurons has such a map."""
    node, kind = link.node, kind_of(link.node)
    if kind in ("Linear", "Affine"):
        return Map(_numbers(node.weight), _bias(node, len(node.weight)) if kind == "Affine" else None)
    if kind != "Conv2d":
        return None
    weight, padding = _numbers(node.weight), padding_of(node.padding, 2)
    stride, side = integers(node.stride, 2), weight.shape[2]
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same" and side % 2:
        padding = (side // 2, side // 2)
    square = weight.shape[3] == side and len(set(stride)) == 1 and len(set(padding)) == 1
    if not square or isinstance(padding, str) or int(node.groups) > 1 or set(integers(node.dilation, 2)) != {1}:
        return None
    bias = _bias(node, len(weight))
    # a convolution of NIR always has biases; zeros are those of one that had none
    return Map(weight, bias if bias.any() else None, stride[0], padding[0])


def identity_map(shape: tuple[int, ...]) -> Map:
    """Return the map that leaves a vector or an image as it is.

    Args:
        shape: (n,) or (C, H, W).
    """
    eye = np.eye(shape[0])
    return Map(eye.reshape(*eye.shape, 1, 1) if len(shape) == 3 else eye, identity=True)


def pool_of(link: Link) -> tuple[int, int, bool] | None:
    """Return side, stride and whether sums are meant of a square pooling without padding; None: it is another node."""
    node, kind = link.node, kind_of(link.node)
    if kind not in ("AvgPool2d", "SumPool2d"):
        return None
    size, stride, padding = (integers(getattr(node, key), 2) for key in ("kernel_size", "stride", "padding"))
    if len(set(size)) > 1 or len(set(stride)) > 1 or any(padding):
        return None
    return size[0], stride[0], kind == "SumPool2d"


def _bias(node: Any, n: int) -> Values:
    return np.broadcast_to(_numbers(node.bias), (n,)).copy()


def _numbers(values: Any) -> Values:
    return np.array(values, dtype=np.float64)
