"""Errors on their way back through the neutral graph's nodes, in ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from exports.graph.nodes import AffineNode, ConvNode, DenseNode, FlattenNode, IdentityNode, Node, PoolNode
from exports.graph.pathways import ErrorEncoding
from exports.onnx.builder import Builder
from exports.onnx.layers import Kept, norm_axes, normal_cdf
from hwmodels.errors import NeurofaError


def encode(b: Builder, encoding: ErrorEncoding | None, error: str) -> str:
    """An error in the number format of the pathway.

    Raises:
        NeurofaError: a format that draws random numbers, or one without an ONNX form.
    """
    if encoding is None or encoding.format == "raw":
        return error
    known = encoding.constants
    if encoding.format == "sign":
        return b.op("Sign", error)
    if encoding.format == "ternary":
        size, theta = b.op("Abs", error), b.constant(known["threshold"])
        if known["relative"]:
            theta = b.op("Mul", b.op("ReduceMean", size, keepdims=0), theta)
        keep = b.op("Cast", b.op("Greater", size, theta), to=1)
        return b.op("Mul", b.op("Sign", error), keep)
    plain = known.get("rounding") == "nearest" and known.get("symmetric") and known.get("per") == "tensor"
    if encoding.format == "uniform" and plain:
        top = 2 ** (int(encoding.bits) - 1) - 1
        largest = b.op("ReduceMax", b.op("Abs", error), keepdims=0)
        full = largest if known["range"] is None else b.constant(known["range"])
        scale = b.op("Max", b.op("Div", full, b.constant(float(top))), b.constant(np.finfo(np.float32).tiny))
        codes = b.op("Clip", b.op("Round", b.op("Div", error, scale)), b.constant(float(-top)), b.constant(float(top)))
        return b.op("Mul", codes, scale)
    raise NeurofaError(
        f"got errors in the format {encoding.format}({', '.join(f'{k}={v}' for k, v in known.items())}) for ONNX;"
        " expected"
        " raw, sign, ternary, or uniform symmetric per tensor to the nearest; export to HDF5"
    )


def localise(
    b: Builder, node: AffineNode, kept: Kept, error: str, params: dict[str, str], g: str
) -> tuple[str, dict[str, str]]:
    """The error at a node's affine output, with the directions of gain and shift.

    Args:
        b: takes the operators.
        node: the layer.
        kept: of its forward pass in training.
        error: name of the error at its output.
        params: names of the node's arrays.
        g: ``own`` for the derivative of the activation, or what augmented DFA puts in its place.
    """
    delta = b.op("Mul", error, _derivative(b, node, kept) if g == "own" else _g(b, g, kept.a))
    if node.norm is None:
        return delta, {}
    axes, found = norm_axes(node), dict[str, str]()
    every = [axis for axis in range(len(node.out_shape) + 1) if axis != 1]
    hat, inverse = kept.more["hat"], kept.more["inverse"]
    if node.norm.gain is not None:
        found["norm_gain"] = b.sum(b.op("Mul", delta, hat), every)
        found["norm_shift"] = b.sum(delta, every)
        gain = b.reshape(params["norm_gain"], -1, *[1] * (len(node.out_shape) - 1))
        delta = b.op("Mul", delta, gain)
    # d = (e - mean(e) - hat mean(e hat)) / sqrt(variance + eps)
    centred = b.op("Sub", delta, b.mean(delta, axes))
    along = b.op("Mul", hat, b.mean(b.op("Mul", delta, hat), axes))
    return b.op("Mul", b.op("Sub", centred, along), inverse), found


def _mask(b: Builder, h: str) -> str:
    return b.op("Cast", b.op("Greater", h, b.constant(0.0)), to=1)


def _derivative(b: Builder, node: AffineNode, kept: Kept) -> str:
    one = b.constant(1.0)
    match node.activation:
        case "identity":
            # of the shape of the output, so that a signal that is the same at all positions is spread over them
            return b.op("Add", b.op("Mul", kept.y, b.constant(0.0)), one)
        case "relu":
            return _mask(b, kept.y)
        case "tanh":
            return b.op("Sub", one, b.op("Mul", kept.y, kept.y))
        case "sigmoid":
            return b.op("Mul", kept.y, b.op("Sub", one, kept.y))
        case "leaky_relu":
            return b.op("Where", b.op("Greater", kept.y, b.constant(0.0)), one, b.constant(0.01))
        case "gelu":
            density = b.op("Exp", b.op("Mul", b.op("Mul", kept.a, kept.a), b.constant(-0.5)))
            inner = b.op("Mul", b.op("Mul", kept.a, density), b.constant(1 / math.sqrt(2 * math.pi)))
            return b.op("Add", normal_cdf(b, kept.a), inner)
        case "silu":
            s = b.op("Sigmoid", kept.a)
            return b.op("Mul", s, b.op("Add", one, b.op("Mul", kept.a, b.op("Sub", one, s))))
    raise NeurofaError(f"got activation '{node.activation}' at '{node.name}'; expected one that learns; export to HDF5")


_G: dict[str, Callable[[Builder, str], str]] = {
    "one": lambda b, a: b.op("Add", b.op("Mul", a, b.constant(0.0)), b.constant(1.0)),
    "tanh": lambda b, a: b.op("Tanh", a),
    "sin": lambda b, a: b.op("Sin", a),
    "cos": lambda b, a: b.op("Cos", a),
    "step": _mask,
    "bell": lambda b, a: b.op("Exp", b.op("Neg", b.op("Mul", a, a))),
}


def _g(b: Builder, name: str, a: str) -> str:
    if name not in _G:
        raise NeurofaError(f"got g={name} for ONNX; expected one of {', '.join(_G)}; use a registered nonlinearity")
    return _G[name](b, a)


def direction(b: Builder, node: AffineNode, delta: str, x: str) -> dict[str, str]:
    """Directions of weight and bias, summed over batch and positions."""
    axes = [axis for axis in range(len(node.out_shape) + 1) if axis != 1]
    found = {"weight": _outer(b, node, delta, x)}
    if node.bias is not None:
        found["bias"] = b.sum(delta, axes)
    return found


def _outer(b: Builder, node: AffineNode, delta: str, x: str) -> str:
    if isinstance(node, DenseNode):
        return b.op("Gemm", delta, x, transA=1)
    assert isinstance(node, ConvNode)  # noqa: S101 (affine nodes are one or the other)
    if node.groups != 1:
        raise NeurofaError(
            f"got {node.groups} groups of channels at '{node.name}' for a learning graph; expected 1; export to HDF5"
        )
    # correlate the images with the errors: channels in the place of samples, strides in the place of dilations
    images, errors = (b.op("Transpose", t, perm=[1, 0, 2, 3]) for t in (x, delta))
    whole = b.op("Conv", images, errors, pads=[node.padding] * 4, dilations=[node.stride] * 2)
    side = node.weight.shape[-1]
    kernels = b.op("Slice", whole, b.sizes(0, 0), b.sizes(side, side), b.sizes(2, 3), b.sizes(1, 1))
    return b.op("Transpose", kernels, perm=[1, 0, 2, 3])


def back(b: Builder, node: AffineNode, delta: str, weight: str) -> str:
    """``delta`` sent back through return weights of the node's shape: the error at its input."""
    if isinstance(node, DenseNode):
        return b.op("MatMul", delta, weight)
    assert isinstance(node, ConvNode)  # noqa: S101 (affine nodes are one or the other)
    extra = [
        n + 2 * node.padding - node.weight.shape[-1] - (m - 1) * node.stride
        for n, m in zip(node.in_shape[1:], node.out_shape[1:], strict=True)
    ]
    side = node.weight.shape[-1]
    return b.op(
        "ConvTranspose", delta, weight, kernel_shape=[side, side], strides=[node.stride] * 2, pads=[node.padding] * 4,
        group=node.groups, output_padding=extra,
    )  # fmt: skip


def narrow(b: Builder, node: AffineNode, delta: str, p: str, rank: int) -> str:
    """``delta`` in the r directions of the columns of P."""
    if isinstance(node, DenseNode):
        return b.op("MatMul", delta, p)
    kernels = b.reshape(b.op("Transpose", p, perm=[1, 0]), rank, -1, 1, 1)
    return b.op("Conv", delta, kernels, kernel_shape=[1, 1])


def carry(b: Builder, node: Node, kept: Kept, error: str) -> str:
    """An error through a layer without weights, by its transpose.

    Raises:
        NeurofaError: the layer has no ONNX form backwards.
    """
    if isinstance(node, IdentityNode):
        if node.p:
            raise NeurofaError(
                f"got dropout at '{node.name}' in a learning graph; expected none: it draws; take it out"
            )
        return error
    if isinstance(node, FlattenNode):
        return b.reshape(error, -1, *node.in_shape)
    if isinstance(node, PoolNode) and node.how == "global":
        h, w = node.in_shape[1:]
        spread = b.op("Mul", b.reshape(error, 0, 0, 1, 1), b.constant(1 / (h * w)))
        return b.op("Expand", spread, b.sizes(1, 1, h, w))
    if isinstance(node, PoolNode) and node.stride == node.size:
        if node.how == "mean":
            kernel = np.full((node.in_shape[0], 1, node.size, node.size), 1 / node.size**2, dtype=np.float32)
            rest = [n - m * node.size for n, m in zip(node.in_shape[1:], node.out_shape[1:], strict=True)]
            return b.op(
                "ConvTranspose", error, b.constant(kernel), strides=[node.stride] * 2, group=node.in_shape[0],
                output_padding=rest,
            )  # fmt: skip
        size = b.op("Shape", kept.x)
        return b.op(
            "MaxUnpool", error, kept.more["index"], size, kernel_shape=[node.size] * 2, strides=[node.stride] * 2
        )
    raise NeurofaError(
        f"got a {node.kind} at '{node.name}' that errors pass; expected flattening, or pooling in windows that do not"
        " overlap;"
        " use a direct rule, or export to HDF5"
    )
