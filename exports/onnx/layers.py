"""Forward maps of the neutral graph's nodes in ONNX operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exports.graph.nodes import AffineNode, ConvNode, FlattenNode, IdentityNode, Node, NormParameters, PoolNode
from exports.graph.operations import TracedNode
from exports.onnx.builder import GraphBuilder
from exports.onnx.modules import add_module
from hwmodels.errors import NeurofaError

Params = Mapping[str, str]
"""Names of a node's arrays in the ONNX graph, by the names that the node gives them."""


@dataclass
class NodeRecord:
    """Values of one node's forward pass that its learning needs: names in the ONNX graph."""

    x: str
    """Its input."""
    y: str = ""
    """Its output."""
    a: str = ""
    """Behind affine map and normalisation, before the activation."""
    more: dict[str, str] = field(default_factory=dict)
    """Of a normalisation: ``hat``, ``inverse``, ``mean``, ``variance``; of a pooling: ``index``."""


def add_weights(b: GraphBuilder, node: Node) -> dict[str, str]:
    """Add all arrays of a node as initializers, named ``LAYER.ARRAY``."""
    return {key: b.weight(f"{node.name}.{key}", array.values) for key, array in node.arrays().items()}


def add_node(b: GraphBuilder, node: Node, x: str, params: Params, *, training: bool = False) -> NodeRecord:
    """Add the operators of one node.

    Args:
        b: the graph.
        node: the layer.
        x: name of the input.
        params: names of the node's arrays.
        training: normalise with the statistics of the batch, and record where a pooling found its largest values.

    Raises:
        NeurofaError: the node has no ONNX form; it is named.
    """
    record = NodeRecord(x)
    match node:
        case AffineNode():
            record.a = add_affine(b, node, x, params)
            if node.norm is not None:
                record.a = _add_norm(b, node, node.norm, record, params, training=training)
            record.y = _ACTIVATIONS[node.activation](b, record.a)
        case PoolNode():
            _add_pool(b, node, record, training=training)
        case FlattenNode():
            record.y = b.op("Flatten", x, axis=1)
        case IdentityNode():
            record.y = x
        case TracedNode():
            record.y = add_module(b, node, x, params)
        case _:
            raise NeurofaError(
                f"got a {node.kind} at '{node.name}' for a static ONNX graph; expected a layer without state; export a"
                " spiking network as a step or a loop"
            )
    return record


def add_affine(b: GraphBuilder, node: AffineNode, x: str, params: Params) -> str:
    """Add W x + b; return its name.

    Args:
        b: the graph.
        node: the layer.
        x: name of the input.
        params: names of the node's arrays.
    """
    bias = [params["bias"]] if "bias" in params else []
    if isinstance(node, ConvNode):
        return b.op("Conv", x, params["weight"], *bias, **conv_attributes(node))
    return b.op("Gemm", x, params["weight"], *bias, transB=1)


def conv_attributes(node: ConvNode) -> dict[str, Any]:
    """Return the attributes of the ONNX operators Conv and ConvTranspose for a convolution's geometry."""
    geometry = {"strides": [node.stride] * 2, "pads": [node.padding] * 4, "group": node.groups}
    return {"kernel_shape": [node.side] * 2, **geometry}


def _add_norm(
    b: GraphBuilder, node: AffineNode, norm: NormParameters, record: NodeRecord, params: Params, *, training: bool
) -> str:
    """Add the normalisation of ``record.a``, and record its parts for the backward pass."""
    # arrays of one number a channel broadcast over positions when these have axes of size 1
    axes, channels = norm_axes(node, norm), (-1, *[1] * (len(node.out_shape) - 1))
    if norm.kind == "batch" and not training:
        mean, variance = (b.reshape(params[f"norm_{key}"], *channels) for key in ("mean", "variance"))
    else:
        mean = b.mean(record.a, axes)
        off = b.op("Sub", record.a, mean)
        variance = b.mean(b.op("Mul", off, off), axes)
    dtype = np.dtype(str(node.weight.values.dtype).removeprefix("torch.")).type
    inverse = b.op("Reciprocal", b.op("Sqrt", b.op("Add", variance, b.constant(norm.eps, dtype))))
    hat = b.op("Mul", b.op("Sub", record.a, mean), inverse)
    record.more = {"hat": hat, "inverse": inverse, "mean": mean, "variance": variance}
    if norm.gain is None:
        return hat
    gain, shift = (b.reshape(params[f"norm_{key}"], *channels) for key in ("gain", "shift"))
    return b.op("Add", b.op("Mul", hat, gain), shift)


def sample_axes(node: Node) -> list[int]:
    """Return the axes of a node's output that count samples and positions: all but that of the channels."""
    return [axis for axis in range(len(node.out_shape) + 1) if axis != 1]


def norm_axes(node: AffineNode, norm: NormParameters) -> list[int]:
    """Return the axes of the output over which a node normalises."""
    return list(range(1, len(node.out_shape) + 1)) if norm.kind == "layer" else sample_axes(node)


def _add_pool(b: GraphBuilder, node: PoolNode, record: NodeRecord, *, training: bool) -> None:
    if node.how == "global":
        record.y = b.op("Flatten", b.op("GlobalAveragePool", record.x), axis=1)
        return
    sizes = {"kernel_shape": [node.size] * 2, "strides": [node.stride] * 2}
    if node.how == "max" and training:
        record.y, record.more["index"] = b.ops("MaxPool", record.x, count=2, **sizes)
    else:
        record.y = b.op("MaxPool" if node.how == "max" else "AveragePool", record.x, **sizes)


_ACTIVATIONS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "identity": lambda b, a: a,  # noqa: ARG005
    "relu": lambda b, a: b.op("Relu", a),
    "tanh": lambda b, a: b.op("Tanh", a),
    "sigmoid": lambda b, a: b.op("Sigmoid", a),
    "leaky_relu": lambda b, a: b.op("LeakyRelu", a, alpha=0.01),
    "gelu": lambda b, a: b.op("Mul", a, b.normal_cdf(a)),
    "silu": lambda b, a: b.op("Mul", a, b.op("Sigmoid", a)),
}
"""By name; see :data:`exports.graph.nodes.ACTIVATIONS`."""
