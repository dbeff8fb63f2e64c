"""The neutral graph: what a chip or another tool has to know of a network, in plain data with shapes and units.

Layers and feedback pathways are turned into these nodes once (:mod:`exports.describe.layers`); every exporter reads
only them. All nodes check their shapes when they are built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from exports.graph.arrays import Array, Matrix, sized
from hwmodels.errors import NeurofaError, did_you_mean

Shape = tuple[int, ...]

ACTIVATIONS = ("identity", "relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu")
"""Elementwise functions that every exporter knows by these names; leaky_relu has the slope 0.01, gelu is exact."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One layer.

    Args:
        name: unique in its chain.
        in_shape: shape of one sample at the input.
        out_shape: shape of one sample at the output.
    """

    kind: ClassVar[str]
    """The word for this kind of node in files."""

    name: str
    in_shape: Shape
    out_shape: Shape

    def arrays(self) -> dict[str, Array]:
        """Everything that is stored, by name; default: nothing."""
        return {}

    def constants(self) -> dict[str, Any]:
        """Plain values beside the arrays; default: none."""
        return {}

    def _need(self, holds: bool, got: str, expected: str) -> None:
        if not holds:
            raise NeurofaError(f"got {got} at node '{self.name}'; expected {expected}; check what describes the layer")


@dataclass(frozen=True, kw_only=True, eq=False)
class NormParameters:
    """Normalisation between an affine map and its activation.

    ``batch``: (a - mean) / sqrt(variance + eps) with the stored statistics, per channel; ``layer``: with the mean and
    the variance of one sample over its channels and positions. Then gain and shift per channel. In training ``batch``
    takes the statistics of the batch, and the stored ones follow by ``momentum``.
    """

    kind: Literal["batch", "layer"]
    eps: float
    momentum: float = 0.0
    gain: Array | None = None
    shift: Array | None = None
    mean: Array | None = None
    variance: Array | None = None

    def arrays(self) -> dict[str, Array]:
        """Those that are there."""
        found = {"gain": self.gain, "shift": self.shift, "mean": self.mean, "variance": self.variance}
        return {f"norm_{key}": array for key, array in found.items() if array is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class AffineNode(Node):
    """h = f(norm(W x + b)).

    Args:
        weight: W, one row an output.
        bias: b, (n_out,).
        norm: between W x + b and f.
        activation: name of f.
        dropout: probability with which training drops an output; inference drops none.
    """

    weight: Matrix
    bias: Array | None = None
    norm: NormParameters | None = None
    activation: str = "identity"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        self._need(
            self.activation in ACTIVATIONS, f"activation '{self.activation}'",
            f"one of {', '.join(ACTIVATIONS)}{did_you_mean(self.activation, ACTIVATIONS)}",
        )  # fmt: skip
        beside = {"bias": self.bias} if self.bias is not None else {}
        for key, array in (beside | (self.norm.arrays() if self.norm is not None else {})).items():
            sized(array, (self.weight.shape[0],), f"{key} of node '{self.name}'")

    def arrays(self) -> dict[str, Array]:
        found: dict[str, Array] = {"weight": self.weight}
        if self.bias is not None:
            found["bias"] = self.bias
        return found | (self.norm.arrays() if self.norm is not None else {})

    def constants(self) -> dict[str, Any]:
        norm = (
            {}
            if self.norm is None
            else {"norm": self.norm.kind, "norm_eps": self.norm.eps, "norm_momentum": self.norm.momentum}
        )
        return {"activation": self.activation, "dropout": self.dropout} | norm


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseNode(AffineNode):
    """On vectors: W is (n_out, n_in)."""

    kind = "dense"

    def __post_init__(self) -> None:
        super().__post_init__()
        sized(self.weight, (math.prod(self.out_shape), math.prod(self.in_shape)), f"weight of node '{self.name}'")


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvNode(AffineNode):
    """On images: W is (C_out, C_in / groups, k, k).

    Args:
        stride: pixels between positions.
        padding: zeros on every side, pixels.
        groups: groups of channels that do not mix.
    """

    kind = "conv2d"

    stride: int = 1
    padding: int = 0
    groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(len(self.in_shape) == len(self.out_shape) == 3, f"shape {self.in_shape}", "images (C, H, W)")
        c_out, c_in, k, k2 = (*self.weight.shape, 0, 0)[:4]
        sides = [(n + 2 * self.padding - k) // self.stride + 1 for n in self.in_shape[1:]]
        self._need(
            k == k2 and c_in * self.groups == self.in_shape[0] and (c_out, *sides) == self.out_shape,
            f"kernels {self.weight.shape} from {self.in_shape} to {self.out_shape}", "kernels that fit both",
        )  # fmt: skip

    def constants(self) -> dict[str, Any]:
        return super().constants() | {"stride": self.stride, "padding": self.padding, "groups": self.groups}


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolNode(Node):
    """Largest value (``max``) or mean (``mean``) of each window, or the mean of the whole image (``global``)."""

    kind = "pool"

    how: Literal["max", "mean", "global"]
    size: int = 0
    stride: int = 0

    def constants(self) -> dict[str, Any]:
        return {"how": self.how, "size": self.size, "stride": self.stride}


@dataclass(frozen=True, kw_only=True, eq=False)
class FlattenNode(Node):
    """(B, ...) to (B, n), the last axis innermost."""

    kind = "flatten"

    def __post_init__(self) -> None:
        fits = self.out_shape == (math.prod(self.in_shape),)
        self._need(fits, f"{self.in_shape} to {self.out_shape}", "all values in one vector")


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityNode(Node):
    """What does nothing in inference, such as dropout of probability ``p`` in training."""

    kind = "identity"

    p: float = 0.0

    def constants(self) -> dict[str, Any]:
        return {"p": self.p}
