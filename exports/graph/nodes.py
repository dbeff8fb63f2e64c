"""Nodes of the neutral graph: layers as plain data with shapes and units.

:mod:`exports.describe` turns layers and feedback pathways into nodes once; every exporter reads only the nodes. A node
checks its shapes when it is built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from exports.graph.arrays import Array, Matrix, require_shape
from hwmodels.errors import NeurofaError, did_you_mean

Shape = tuple[int, ...]

ACTIVATIONS = ("identity", "relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu")
"""Elementwise functions that every exporter knows by these names; leaky_relu has the slope 0.01, gelu is exact."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One layer of the neutral graph: its name and shapes; each kind of layer is a subclass.

    Args:
        name: unique in its graph.
        in_shape: shape of one sample at the input.
        out_shape: shape of one sample at the output.
    """

    kind: ClassVar[str]
    """Name of this kind of node in files."""
    has_memory: ClassVar[bool] = False
    """Whether the node carries state from tick to tick."""

    name: str
    in_shape: Shape
    out_shape: Shape

    @property
    def label(self) -> str:
        """Kind and variant, for messages."""
        return self.kind

    def arrays(self) -> dict[str, Array]:
        """Return all stored arrays by name; default: none."""
        return {}

    def constants(self) -> dict[str, Any]:
        """Return the plain values beside the arrays; default: none."""
        return {}

    def _require(self, holds: bool, got: str, expected: str) -> None:
        if not holds:
            raise NeurofaError(f"got {got} at node '{self.name}'; expected {expected}; check what describes the layer")


@dataclass(frozen=True, kw_only=True, eq=False)
class NormParameters:
    """Normalisation between an affine map and its activation.

    ``batch``: (a - mean) / sqrt(variance + eps) with the stored statistics of each channel. ``layer``: the same with
    mean and variance of one sample over its channels and positions. Gain and shift of each channel follow. In training,
    ``batch`` takes the statistics of the batch, and the stored ones follow by ``momentum``.

    Args:
        kind: see above.
        eps: added to the variance.
        momentum: share of the batch's statistics in the new stored ones (``batch``).
        gain: factor of each channel, (n_out,); None: 1.
        shift: added to each channel, (n_out,); None: 0.
        mean: stored mean of each channel, (n_out,) (``batch``).
        variance: stored variance of each channel, (n_out,) (``batch``).
    """

    kind: Literal["batch", "layer"]
    eps: float
    momentum: float = 0.0
    gain: Array | None = None
    shift: Array | None = None
    mean: Array | None = None
    variance: Array | None = None

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that are present, by name."""
        arrays = {"gain": self.gain, "shift": self.shift, "mean": self.mean, "variance": self.variance}
        return {f"norm_{key}": array for key, array in arrays.items() if array is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class AffineNode(Node):
    """An affine map with normalisation and activation, h = f(norm(W x + b)).

    Args:
        weight: W, one row for each output.
        bias: b, (n_out,).
        norm: normalisation between W x + b and f.
        activation: name of f.
        dropout: probability with which training drops an output; inference drops none.
    """

    weight: Matrix
    bias: Array | None = None
    norm: NormParameters | None = None
    activation: str = "identity"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        expected = f"one of {', '.join(ACTIVATIONS)}{did_you_mean(self.activation, ACTIVATIONS)}"
        self._require(self.activation in ACTIVATIONS, f"activation '{self.activation}'", expected)
        for key, array in self.arrays().items():
            if key != "weight":
                require_shape(array, (self.weight.shape[0],), f"{key} of node '{self.name}'")

    @property
    def purely_affine(self) -> bool:
        """Whether the node is W x + b alone, without normalisation and activation."""
        return self.activation == "identity" and self.norm is None

    @property
    def label(self) -> str:
        return f"{self.kind} with {self.activation}"

    def arrays(self) -> dict[str, Array]:
        bias = {} if self.bias is None else {"bias": self.bias}
        return {"weight": self.weight} | bias | ({} if self.norm is None else self.norm.arrays())

    def constants(self) -> dict[str, Any]:
        constants: dict[str, Any] = {"activation": self.activation, "dropout": self.dropout}
        if self.norm is not None:
            constants |= {"norm": self.norm.kind, "norm_eps": self.norm.eps, "norm_momentum": self.norm.momentum}
        return constants


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseNode(AffineNode):
    """An affine map of vectors: W is (n_out, n_in)."""

    kind = "dense"

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = (math.prod(self.out_shape), math.prod(self.in_shape))
        require_shape(self.weight, shape, f"weight of node '{self.name}'")


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvNode(AffineNode):
    """A convolution of images: W is (C_out, C_in / groups, k, k).

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
        self._require(len(self.in_shape) == len(self.out_shape) == 3, f"shape {self.in_shape}", "images (C, H, W)")
        c_out, c_in, k, k2 = (*self.weight.shape, 0, 0)[:4]
        sides = [(n + 2 * self.padding - k) // self.stride + 1 for n in self.in_shape[1:]]
        fits = k == k2 and c_in * self.groups == self.in_shape[0] and (c_out, *sides) == self.out_shape
        got = f"kernels {self.weight.shape} from {self.in_shape} to {self.out_shape}"
        self._require(fits, got, "kernels that fit both")

    @property
    def side(self) -> int:
        """Side k of the square kernels, pixels."""
        return self.weight.shape[-1]

    def constants(self) -> dict[str, Any]:
        return super().constants() | {"stride": self.stride, "padding": self.padding, "groups": self.groups}


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolNode(Node):
    """Largest value (``max``) or mean (``mean``) of each window, or the mean of the whole image (``global``).

    Args:
        how: which of the three.
        size: side of a window, pixels.
        stride: pixels between windows.
    """

    kind = "pool"

    how: Literal["max", "mean", "global"]
    size: int = 0
    stride: int = 0

    @property
    def label(self) -> str:
        return f"{self.kind} with {self.how}"

    def constants(self) -> dict[str, Any]:
        return {"how": self.how, "size": self.size, "stride": self.stride}


@dataclass(frozen=True, kw_only=True, eq=False)
class FlattenNode(Node):
    """(B, ...) to (B, n), the last axis innermost."""

    kind = "flatten"

    def __post_init__(self) -> None:
        fits = self.out_shape == (math.prod(self.in_shape),)
        self._require(fits, f"{self.in_shape} to {self.out_shape}", "all values in one vector")


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityNode(Node):
    """The identity in inference, such as dropout, which acts with probability ``p`` in training."""

    kind = "identity"

    p: float = 0.0

    def constants(self) -> dict[str, Any]:
        return {"p": self.p}
