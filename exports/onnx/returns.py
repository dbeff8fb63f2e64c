"""Errors on their way back through the neutral graph's nodes, in ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from exports.graph.nodes import AffineNode, ConvNode, FlattenNode, IdentityNode, Node, PoolNode
from exports.onnx.builder import GraphBuilder
from exports.onnx.layers import NodeRecord, conv_attributes, norm_axes, sample_axes
from hwmodels.errors import NeurofaError


def affine_error(
    b: GraphBuilder, node: AffineNode, record: NodeRecord, error: str, params: dict[str, str], g: str
) -> tuple[str, dict[str, str]]:
    """Add the error at a node's affine output, from the error at its output.

    Args:
        b: the graph.
        node: the layer.
        record: values of the layer's forward pass in training.
        error: name of the error at its output.
        params: names of the node's arrays.
        g: ``own`` for the derivative of the activation, or the function by which augmented DFA replaces it.

    Returns:
        Name of the error at the affine output, and of the directions of gain and shift.
    """
    delta = b.op("Mul", error, _derivative(b, node, record) if g == "own" else _substitute(b, g, record.a))
    norm, directions = node.norm, dict[str, str]()
    if norm is None:
        return delta, directions
    axes, samples = norm_axes(node, norm), sample_axes(node)
    hat, inverse = record.more["hat"], record.more["inverse"]
    if norm.gain is not None:
        directions["norm_gain"] = b.sum(b.op("Mul", delta, hat), samples)
        directions["norm_shift"] = b.sum(delta, samples)
        gain = b.reshape(params["norm_gain"], -1, *[1] * (len(node.out_shape) - 1))
        delta = b.op("Mul", delta, gain)
    # d = (e - mean(e) - hat mean(e hat)) / sqrt(variance + eps)
    centred = b.op("Sub", delta, b.mean(delta, axes))
    along = b.op("Mul", hat, b.mean(b.op("Mul", delta, hat), axes))
    return b.op("Mul", b.op("Sub", centred, along), inverse), directions


def _derivative(b: GraphBuilder, node: AffineNode, record: NodeRecord) -> str:
    one = b.constant(1.0)
    match node.activation:
        case "identity":
            # of the shape of the output, so that a signal that is the same at all positions is spread over them
            return b.ones_like(record.y)
        case "relu":
            return b.positive(record.y)
        case "tanh":
            return b.op("Sub", one, b.op("Mul", record.y, record.y))
        case "sigmoid":
            return b.op("Mul", record.y, b.op("Sub", one, record.y))
        case "leaky_relu":
            return b.op("Where", b.op("Greater", record.y, b.constant(0.0)), one, b.constant(0.01))
        case "gelu":
            # of a Phi(a): Phi(a) + a phi(a)
            density = b.op("Exp", b.op("Mul", b.op("Mul", record.a, record.a), b.constant(-0.5)))
            inner = b.op("Mul", b.op("Mul", record.a, density), b.constant(1 / math.sqrt(2 * math.pi)))
            return b.op("Add", b.normal_cdf(record.a), inner)
        case "silu":
            # of a s(a): s + a s (1 - s)
            s = b.op("Sigmoid", record.a)
            return b.op("Mul", s, b.op("Add", one, b.op("Mul", record.a, b.op("Sub", one, s))))
    raise NeurofaError(f"got activation '{node.activation}' at '{node.name}'; expected one that learns; export to HDF5")


_SUBSTITUTES: dict[str, Callable[[GraphBuilder, str], str]] = {
    "one": lambda b, a: b.ones_like(a),
    "tanh": lambda b, a: b.op("Tanh", a),
    "sin": lambda b, a: b.op("Sin", a),
    "cos": lambda b, a: b.op("Cos", a),
    "step": lambda b, a: b.positive(a),
    "bell": lambda b, a: b.op("Exp", b.op("Neg", b.op("Mul", a, a))),
}


def _substitute(b: GraphBuilder, name: str, a: str) -> str:
    if name not in _SUBSTITUTES:
        names = ", ".join(_SUBSTITUTES)
        raise NeurofaError(f"got g={name} for ONNX; expected one of {names}; use a registered nonlinearity")
    return _SUBSTITUTES[name](b, a)


def weight_directions(b: GraphBuilder, node: AffineNode, delta: str, x: str) -> dict[str, str]:
    """Add the directions of weight and bias, summed over batch and positions; return their names.

    Args:
        b: the graph.
        node: the layer.
        delta: name of the error at its affine output.
        x: name of its input.
    """
    directions = {"weight": _outer_product(b, node, delta, x)}
    if node.bias is not None:
        directions["bias"] = b.sum(delta, sample_axes(node))
    return directions


def _outer_product(b: GraphBuilder, node: AffineNode, delta: str, x: str) -> str:
    if not isinstance(node, ConvNode):
        return b.op("Gemm", delta, x, transA=1)
    if node.groups != 1:
        raise NeurofaError(
            f"got {node.groups} groups of channels at '{node.name}' for a learning graph; expected 1; export to HDF5"
        )
    # correlate the images with the errors: channels in the place of samples, strides in the place of dilations
    images, errors = (b.op("Transpose", t, perm=[1, 0, 2, 3]) for t in (x, delta))
    full = b.op("Conv", images, errors, pads=[node.padding] * 4, dilations=[node.stride] * 2)
    kernels = b.op("Slice", full, b.sizes(0, 0), b.sizes(node.side, node.side), b.sizes(2, 3), b.sizes(1, 1))
    return b.op("Transpose", kernels, perm=[1, 0, 2, 3])


def input_error(b: GraphBuilder, node: AffineNode, delta: str, weight: str) -> str:
    """Add the error at a node's input: ``delta`` sent back through return weights of its shape; return its name.

    Args:
        b: the graph.
        node: the layer.
        delta: name of the error at its affine output.
        weight: name of the return weights.
    """
    if not isinstance(node, ConvNode):
        return b.op("MatMul", delta, weight)
    # rows and columns of the input that no window reaches
    rest = [
        n + 2 * node.padding - node.side - (m - 1) * node.stride
        for n, m in zip(node.in_shape[1:], node.out_shape[1:], strict=True)
    ]
    return b.op("ConvTranspose", delta, weight, **conv_attributes(node), output_padding=rest)


def factor_error(b: GraphBuilder, node: AffineNode, delta: str, p: str, rank: int) -> str:
    """Add delta P, the error in the r directions of the columns of P; return its name.

    Args:
        b: the graph.
        node: the layer.
        delta: name of the error at its affine output.
        p: name of P, (n_out, r).
        rank: r.
    """
    if not isinstance(node, ConvNode):
        return b.op("MatMul", delta, p)
    # at every position, P mixes channels: a convolution with kernels of one pixel
    kernels = b.reshape(b.op("Transpose", p, perm=[1, 0]), rank, -1, 1, 1)
    return b.op("Conv", delta, kernels, kernel_shape=[1, 1])


def transposed_error(b: GraphBuilder, node: Node, record: NodeRecord, error: str) -> str:
    """Add the error at the input of a layer without weights, by the transpose of the layer; return its name.

    Args:
        b: the graph.
        node: the layer.
        record: values of the layer's forward pass in training.
        error: name of the error at its output.

    Raises:
        NeurofaError: the layer has no ONNX form backwards.
    """
    match node:
        case IdentityNode(p=0.0):
            return error
        case IdentityNode():
            raise NeurofaError(
                f"got dropout at '{node.name}' in a learning graph; expected none: it draws; take it out"
            )
        case FlattenNode():
            return b.reshape(error, -1, *node.in_shape)
        case PoolNode(how="global"):
            # every position has the same share of the mean
            h, w = node.in_shape[1:]
            spread = b.op("Mul", b.reshape(error, 0, 0, 1, 1), b.constant(1 / (h * w)))
            return b.op("Expand", spread, b.sizes(1, 1, h, w))
        case PoolNode() if node.stride == node.size:
            return _unpool(b, node, record, error)
    raise NeurofaError(
        f"got a {node.kind} at '{node.name}' that errors pass; expected flattening, or pooling in windows that do not"
        " overlap; use a direct rule, or export to HDF5"
    )


def _unpool(b: GraphBuilder, node: PoolNode, record: NodeRecord, error: str) -> str:
    """Add the error at the input of a pooling in windows that do not overlap."""
    strides = [node.stride] * 2
    if node.how == "max":
        shape = b.op("Shape", record.x)
        return b.op("MaxUnpool", error, record.more["index"], shape, kernel_shape=[node.size] * 2, strides=strides)
    # every position of a window has the same share of its mean; positions behind the last window get nothing
    channels = node.in_shape[0]
    kernel = np.full((channels, 1, node.size, node.size), 1 / node.size**2, dtype=np.float32)
    rest = [n - m * node.size for n, m in zip(node.in_shape[1:], node.out_shape[1:], strict=True)]
    return b.op("ConvTranspose", error, b.constant(kernel), strides=strides, group=channels, output_padding=rest)
