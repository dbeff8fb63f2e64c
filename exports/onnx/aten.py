"""Traced modules: ATen's core operators in ONNX operators.

``torch.onnx.export`` cannot take its place: asked for opset 17 it leaves ReduceMean at 18 (torch 2.13), and it folds
and renames weights, which here keep the names of the layer and may be int8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from exports.graph.operations import Free
from exports.onnx.builder import GraphBuilder

Translator = Callable[..., Any]
"""From a graph and the operator's arguments, results being names, to the name of its result (or a list of them)."""

Ints = tuple[int, ...]


def _unary(kind: str) -> Translator:
    return lambda b, x: b.op(kind, x)


def _binary(name: str) -> Translator:
    def operand(b: GraphBuilder, value: Any) -> str:
        return value if isinstance(value, str) else b.constant(float(value))

    def add(b: GraphBuilder, left: Any, right: Any, alpha: float = 1) -> str:
        if alpha != 1:
            right = b.op("Mul", operand(b, right), b.constant(float(alpha)))
        return b.op(name.capitalize(), operand(b, left), operand(b, right))

    return add


def _same(b: GraphBuilder, x: str) -> str:  # noqa: ARG001
    return x


def _getitem(b: GraphBuilder, values: list[str], index: int) -> str:  # noqa: ARG001
    return values[index]


def _view(b: GraphBuilder, x: str, sizes: tuple[Any, ...]) -> str:
    # two open sizes: the first is that of the batch, which 0 keeps
    open_size = 0 if -1 in sizes else -1
    return b.reshape(x, *[open_size if isinstance(n, Free) else n for n in sizes])


def _expand(b: GraphBuilder, x: str, sizes: tuple[Any, ...]) -> str:
    # a size of 1 leaves the axis as it is
    return b.op("Expand", x, b.sizes(*[1 if isinstance(n, Free) or n == -1 else n for n in sizes]))


def _slice(b: GraphBuilder, x: str, axis: int = 0, start: int | None = 0, end: int | None = None, step: int = 1) -> str:
    last = 2**62 if end is None else end
    return b.op("Slice", x, b.sizes(start or 0), b.sizes(last), b.sizes(axis), b.sizes(step))


def _squeeze(b: GraphBuilder, x: str, axes: int | Ints) -> str:
    return b.op("Squeeze", x, b.sizes(*(axes if isinstance(axes, tuple) else (axes,))))


def _linear(b: GraphBuilder, x: str, weight: str, bias: str | None = None) -> str:
    y = b.op("MatMul", x, b.op("Transpose", weight, perm=[1, 0]))
    return y if bias is None else b.op("Add", y, bias)


def _convolution(b: GraphBuilder, x: str, weight: str, bias: str | None, *geometry: Any) -> str:
    """Add a convolution; ``geometry`` is stride, padding, dilation, transposed, output padding and groups."""
    stride, padding, dilation, transposed, output_padding, groups = geometry
    pads = [*padding, *padding]
    attributes = {"strides": list(stride), "pads": pads, "dilations": list(dilation), "group": groups}
    if transposed:
        attributes["output_padding"] = list(output_padding)
    inputs = [x, weight] if bias is None else [x, weight, bias]
    return b.op("ConvTranspose" if transposed else "Conv", *inputs, **attributes)


def _layer_norm(b: GraphBuilder, x: str, shape: Ints, gain: str | None, shift: str | None, eps: float) -> list[str]:
    axes = list(range(-len(shape), 0))
    off = b.op("Sub", x, b.mean(x, axes))
    variance = b.mean(b.op("Mul", off, off), axes)
    y = b.op("Div", off, b.op("Sqrt", b.op("Add", variance, b.constant(eps))))
    y = y if gain is None else b.op("Mul", y, gain)
    return [y if shift is None else b.op("Add", y, shift)]


def _batch_norm(b: GraphBuilder, x: str, *arguments: Any) -> list[str]:
    """Add a normalisation with stored statistics; ``arguments`` are gain, shift, mean, variance, momentum and eps."""
    gain, shift, mean, variance, _momentum, eps = arguments
    gain = b.ones_like(mean) if gain is None else gain
    shift = b.op("Mul", mean, b.constant(0.0)) if shift is None else shift
    return [b.op("BatchNormalization", x, gain, shift, mean, variance, epsilon=eps)]


def _group_norm(b: GraphBuilder, x: str, gain: str | None, shift: str | None, *sizes: Any) -> list[str]:
    """Add a normalisation of groups of channels; ``sizes`` are B, C, positions, groups and eps."""
    _, channels, _, groups, eps = sizes
    y = _layer_norm(b, b.reshape(x, 0, groups, -1), (1,), None, None, eps)[0]
    y = b.reshape(y, 0, channels, -1)
    y = y if gain is None else b.op("Mul", y, b.reshape(gain, channels, 1))
    y = y if shift is None else b.op("Add", y, b.reshape(shift, channels, 1))
    return [b.op("Reshape", y, b.op("Shape", x))]


def _elu(b: GraphBuilder, x: str, alpha: float = 1.0, scale: float = 1.0) -> str:
    y = b.op("Elu", x, alpha=float(alpha))
    return y if scale == 1 else b.op("Mul", y, b.constant(float(scale)))


def _clip(b: GraphBuilder, x: str, low: float | None = None, high: float | None = None) -> str:
    y = x if low is None else b.op("Max", x, b.constant(float(low)))
    return y if high is None else b.op("Min", y, b.constant(float(high)))


def _pad(mode: str) -> Translator:
    """Return the translator of a padding; torch counts axes from the last, in pairs of begin and end."""

    def add(b: GraphBuilder, x: str, pads: Ints, value: float = 0.0, *, rank: int) -> str:
        before, behind = ([0] * (rank - len(pads) // 2) + list(reversed(pads[side::2])) for side in (0, 1))
        fill = [b.constant(float(value))] if mode == "constant" else []
        return b.op("Pad", x, b.sizes(*before, *behind), *fill, mode=mode)

    return add


def _gelu(b: GraphBuilder, x: str, approximate: str = "none") -> str:
    if approximate == "none":
        return b.op("Mul", x, b.normal_cdf(x))
    cube = b.op("Mul", b.op("Mul", x, x), x)
    inner = b.op("Add", x, b.op("Mul", cube, b.constant(0.044715)))
    tanh = b.op("Tanh", b.op("Mul", inner, b.constant(math.sqrt(2 / math.pi))))
    return b.op("Mul", b.op("Mul", x, b.constant(0.5)), b.op("Add", tanh, b.constant(1.0)))


def _softmax(b: GraphBuilder, x: str, axis: int, half: bool = False) -> str:  # noqa: ARG001
    return b.op("Softmax", x, axis=axis)


def _max_pool(b: GraphBuilder, x: str, size: Ints, *options: Any) -> list[str]:
    """Add a pooling; ``options`` are stride, padding, dilation and whether sizes are rounded up."""
    stride, pad, dilation, up = _filled(options, (), (0,) * len(size), (1,) * len(size), False)
    shape = {"kernel_shape": list(size), "strides": list(stride or size), "pads": [*_both(pad), *_both(pad)]}
    return [b.op("MaxPool", x, **shape, dilations=_both(dilation), ceil_mode=int(up))]


def _mean_pool(b: GraphBuilder, x: str, size: Ints, *options: Any) -> str:
    """Add a pooling; ``options`` are stride, padding, round up, count the padding, and the divisor."""
    stride, pad, up, counted, divisor = _filled(options, (), (0,) * len(size), False, True, None)
    shape = {"kernel_shape": list(size), "strides": list(stride or size), "pads": [*_both(pad), *_both(pad)]}
    counted = counted or divisor is not None
    y = b.op("AveragePool", x, **shape, count_include_pad=int(counted), ceil_mode=int(up))
    return y if divisor is None else b.op("Mul", y, b.constant(math.prod(size) / divisor))


def _split(b: GraphBuilder, x: str, sizes: Ints, axis: int = 0) -> list[str]:
    """Add a slice for each part."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [_slice(b, x, axis, start, start + size) for start, size in zip(starts, sizes, strict=True)]


def _filled(options: tuple[Any, ...], *defaults: Any) -> tuple[Any, ...]:
    """Return the options that are given, and the defaults of those behind them."""
    return options + defaults[len(options) :]


def _both(sizes: Ints) -> list[int]:
    return [*sizes, *sizes] if len(sizes) == 1 else list(sizes)


def _any(b: GraphBuilder, x: str, axis: int, keep: bool = False) -> str:
    # ONNX has no maximum of truth values
    return b.cast(b.op("ReduceMax", b.cast(x, torch.int32), axes=[axis], keepdims=int(keep)), torch.bool)


def _full_like(b: GraphBuilder, x: str, value: float, dtype: str | None = None) -> str:  # noqa: ARG001
    return b.op("Add", b.op("Mul", x, b.constant(0.0)), b.constant(float(value)))


_PADDINGS: dict[str, Translator] = {
    "constant_pad_nd.default": _pad("constant"),
    **{f"reflection_pad{n}d.default": _pad("reflect") for n in (1, 2, 3)},
    **{f"replication_pad{n}d.default": _pad("edge") for n in (1, 2, 3)},
}
RANKED = frozenset(_PADDINGS)
"""Operators whose form depends on the number of axes."""
_UNARY = ("relu", "tanh", "sigmoid", "exp", "log", "sqrt", "neg", "abs", "erf", "sin", "cos")
TRANSLATORS: dict[str, Translator] = {
    **{f"{name}.default": _unary(name.capitalize()) for name in _UNARY},
    "logical_not.default": _unary("Not"),
    **{f"{name}.{form}": _binary(name) for name in ("add", "sub", "mul", "div") for form in ("Tensor", "Scalar")},
    **{f"{name}.default": _same for name in ("clone", "contiguous", "detach", "alias", "lift_fresh_copy")},
    **{f"{name}.default": _view for name in ("view", "reshape", "_unsafe_view")},
    **{f"{name}.default": lambda b, left, right: b.op("MatMul", left, right) for name in ("mm", "bmm", "matmul")},
    "getitem": _getitem,
    "expand.default": _expand,
    "permute.default": lambda b, x, axes: b.op("Transpose", x, perm=list(axes)),
    "slice.Tensor": _slice,
    "select.int": lambda b, x, axis, index: b.op("Gather", x, b.constant(index, np.int64), axis=axis),
    "squeeze.dim": _squeeze,
    "squeeze.dims": _squeeze,
    "unsqueeze.default": lambda b, x, axis: b.op("Unsqueeze", x, b.sizes(axis)),
    "cat.default": lambda b, parts, axis=0: b.op("Concat", *parts, axis=axis),
    "mean.dim": lambda b, x, axes, keep=False: b.mean(x, axes, keep=keep),
    "sum.dim_IntList": lambda b, x, axes, keep=False: b.sum(x, axes, keep=keep),
    "addmm.default": lambda b, c, left, right: b.op("Add", b.op("MatMul", left, right), c),
    "linear.default": _linear,
    "convolution.default": _convolution,
    "native_layer_norm.default": _layer_norm,
    "native_group_norm.default": _group_norm,
    "clamp.default": _clip,
    "clamp_min.default": _clip,
    "clamp_max.default": lambda b, x, high: _clip(b, x, None, high),
    "hardtanh.default": lambda b, x, low=-1.0, high=1.0: _clip(b, x, low, high),
    "elu.default": _elu,
    "log1p.default": lambda b, x: b.op("Log", b.op("Add", x, b.constant(1.0))),
    "gt.Scalar": lambda b, x, value: b.op("Greater", x, b.constant(float(value))),
    "_log_softmax.default": lambda b, x, axis, half=False: b.op("LogSoftmax", x, axis=axis),  # noqa: ARG005
    **_PADDINGS,
    "_native_batch_norm_legit_no_training.default": _batch_norm,
    "gelu.default": _gelu,
    "leaky_relu.default": lambda b, x, slope=0.01: b.op("LeakyRelu", x, alpha=slope),
    "_softmax.default": _softmax,
    "pow.Tensor_Scalar": lambda b, x, power: b.op("Pow", x, b.constant(float(power))),
    "rsqrt.default": lambda b, x: b.op("Reciprocal", b.op("Sqrt", x)),
    "max_pool2d_with_indices.default": _max_pool,
    "avg_pool2d.default": _mean_pool,
    "max_pool3d_with_indices.default": _max_pool,
    "avg_pool3d.default": _mean_pool,
    "split_with_sizes.default": _split,
    "sign.default": _unary("Sign"),
    "eq.Scalar": lambda b, x, value: b.op("Equal", x, b.constant(value)),
    "any.dim": _any,
    "full_like.default": _full_like,
    "where.self": lambda b, condition, yes, no: b.op("Where", condition, yes, no),
}
"""Translators by the name of the operator, with its overload."""
