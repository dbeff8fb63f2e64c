"""Forward maps of the neutral graph's nodes in ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from exports.graph.nodes import AffineNode, ConvNode, DenseNode, FlattenNode, IdentityNode, Node, PoolNode
from exports.graph.operations import TracedNode
from exports.onnx.aten import translate
from exports.onnx.builder import Builder
from hwmodels.errors import NeurofaError

Params = Mapping[str, str]
"""Names of a node's arrays in the ONNX graph, by the names that the node gives them."""


@dataclass
class Kept:
    """What one node leaves for its own learning: names in the ONNX graph."""

    x: str
    y: str = ""
    a: str = ""
    """Behind affine map and normalisation, before the activation."""
    more: dict[str, str] = field(default_factory=dict)


def weights(b: Builder, node: Node) -> dict[str, str]:
    """All arrays of a node as initializers, named ``LAYER.ARRAY``."""
    return {key: b.weight(f"{node.name}.{key}", array.values) for key, array in node.arrays().items()}


def forward(b: Builder, node: Node, x: str, params: Params, *, training: bool = False) -> Kept:
    """One node.

    Args:
        b: takes the operators.
        node: what to compute.
        x: name of the input.
        params: names of the node's arrays.
        training: normalise with the statistics of the batch, and keep where a pooling found its largest values.

    Raises:
        NeurofaError: the node has no ONNX form; it is named.
    """
    kept = Kept(x)
    if isinstance(node, AffineNode):
        kept.a = affine(b, node, x, params)
        if node.norm is not None:
            kept.a = normalise(b, node, kept, params, training=training)
        kept.y = ACTIVATIONS[node.activation](b, kept.a)
    elif isinstance(node, PoolNode):
        _pool(b, node, kept, training=training)
    elif isinstance(node, FlattenNode):
        kept.y = b.op("Flatten", x, axis=1)
    elif isinstance(node, IdentityNode):
        kept.y = x
    elif isinstance(node, TracedNode):
        kept.y = translate(b, node, x, params)
    else:
        raise NeurofaError(
            f"got a {node.kind} at '{node.name}' for a static ONNX graph; expected a layer without state; export a"
            " spiking"
            " network as a step or a loop"
        )
    return kept


def affine(b: Builder, node: AffineNode, x: str, params: Params) -> str:
    """W x + b."""
    bias = [params["bias"]] if "bias" in params else []
    if isinstance(node, DenseNode):
        return b.op("Gemm", x, params["weight"], *bias, transB=1)
    assert isinstance(node, ConvNode)  # noqa: S101 (affine nodes are one or the other)
    return b.op("Conv", x, params["weight"], *bias, **geometry(node))


def geometry(node: ConvNode) -> dict[str, object]:
    """Attributes of a convolution."""
    side = node.weight.shape[-1]
    return {
        "kernel_shape": [side, side], "strides": [node.stride] * 2, "pads": [node.padding] * 4, "group": node.groups,
    }  # fmt: skip


def normalise(b: Builder, node: AffineNode, kept: Kept, params: Params, *, training: bool) -> str:
    """Normalisation of ``kept.a``, with its parts kept for the way back."""
    norm = node.norm
    assert norm is not None  # noqa: S101 (asked for nodes with a norm only)
    axes, channels = norm_axes(node), (-1, *[1] * (len(node.out_shape) - 1))
    if norm.kind == "batch" and not training:
        mean, variance = (b.reshape(params[f"norm_{key}"], *channels) for key in ("mean", "variance"))
    else:
        mean = b.mean(kept.a, axes)
        off = b.op("Sub", kept.a, mean)
        variance = b.mean(b.op("Mul", off, off), axes)
    eps = b.constant(norm.eps, _numpy(node))
    inverse = b.op("Reciprocal", b.op("Sqrt", b.op("Add", variance, eps)))
    hat = b.op("Mul", b.op("Sub", kept.a, mean), inverse)
    kept.more = {"hat": hat, "inverse": inverse, "mean": mean, "variance": variance}
    if norm.gain is None:
        return hat
    gain, shift = (b.reshape(params[f"norm_{key}"], *channels) for key in ("gain", "shift"))
    return b.op("Add", b.op("Mul", hat, gain), shift)


def norm_axes(node: AffineNode) -> list[int]:
    """Axes of the output over which a node normalises."""
    assert node.norm is not None  # noqa: S101 (asked for nodes with a norm only)
    everything = list(range(len(node.out_shape) + 1))
    return everything[1:] if node.norm.kind == "layer" else [axis for axis in everything if axis != 1]


def _numpy(node: AffineNode) -> type:
    return np.dtype(str(node.weight.values.dtype).removeprefix("torch.")).type


def _pool(b: Builder, node: PoolNode, kept: Kept, *, training: bool) -> None:
    if node.how == "global":
        kept.y = b.op("Flatten", b.op("GlobalAveragePool", kept.x), axis=1)
        return
    sizes = {"kernel_shape": [node.size] * 2, "strides": [node.stride] * 2}
    if node.how == "max" and training:
        kept.y, kept.more["index"] = b.ops("MaxPool", kept.x, count=2, **sizes)
    else:
        kept.y = b.op("MaxPool" if node.how == "max" else "AveragePool", kept.x, **sizes)


def _gelu(b: Builder, a: str) -> str:
    return b.op("Mul", a, normal_cdf(b, a))


def normal_cdf(b: Builder, a: str) -> str:
    """The distribution function of the normal law, (1 + erf(a / sqrt 2)) / 2."""
    erf = b.op("Erf", b.op("Mul", a, b.constant(math.sqrt(0.5))))
    return b.op("Mul", b.op("Add", erf, b.constant(1.0)), b.constant(0.5))


ACTIVATIONS: dict[str, Callable[[Builder, str], str]] = {
    "identity": lambda b, a: a,  # noqa: ARG005
    "relu": lambda b, a: b.op("Relu", a),
    "tanh": lambda b, a: b.op("Tanh", a),
    "sigmoid": lambda b, a: b.op("Sigmoid", a),
    "leaky_relu": lambda b, a: b.op("LeakyRelu", a, alpha=0.01),
    "gelu": _gelu,
    "silu": lambda b, a: b.op("Mul", a, b.op("Sigmoid", a)),
}
"""By name; see :data:`exports.graph.nodes.ACTIVATIONS`."""
