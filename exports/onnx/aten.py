"""Traced modules: ATen's core operators in ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from exports.graph.operations import Free, Op, Ref, TracedNode
from exports.onnx.builder import Builder
from hwmodels.errors import NeurofaError

Translator = Callable[..., Any]
_KNOWN: dict[str, Translator] = {}


def translate(b: Builder, node: TracedNode, x: str, params: Mapping[str, str]) -> str:
    """All operations of a traced module.

    Raises:
        NeurofaError: an operation without an ONNX form; it is named.
    """
    if node.reason:
        raise NeurofaError(node.reason)
    names: dict[str, Any] = {"x": x} | {ref: params[key] for key, ref in node.placeholders.items()}
    for op in node.ops:
        if op.target not in _KNOWN:
            raise NeurofaError(
                f"got operation '{op.target}' in layer '{node.name}'; expected one with an ONNX form here; write the"
                " module"
                " with other operations, or export to HDF5"
            )
        args, options = _named(op, names)
        names[op.name] = _KNOWN[op.target](b, *args, **options)
    return str(names[node.result])


def _named(op: Op, names: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    def find(value: Any) -> Any:
        if isinstance(value, Ref):
            return names[value.name]
        return tuple(find(v) for v in value) if isinstance(value, tuple) else value

    return [find(a) for a in op.args], {key: find(value) for key, value in op.kwargs.items()}


def _knows(*targets: str) -> Callable[[Translator], Translator]:
    def add(function: Translator) -> Translator:
        _KNOWN.update(dict.fromkeys(targets, function))
        return function

    return add


def _value(b: Builder, value: Any) -> str:
    """An operand: a name as it is, a number as a constant."""
    return value if isinstance(value, str) else b.constant(float(value))


def _binary(kind: str) -> Translator:
    def make(b: Builder, left: Any, right: Any, alpha: float = 1) -> str:
        if alpha != 1:
            right = b.op("Mul", _value(b, right), b.constant(float(alpha)))
        return b.op(kind, _value(b, left), _value(b, right))

    return make


for _torch, _onnx in (("add", "Add"), ("sub", "Sub"), ("mul", "Mul"), ("div", "Div")):
    _KNOWN[f"{_torch}.Tensor"] = _KNOWN[f"{_torch}.Scalar"] = _binary(_onnx)
for _torch, _onnx in (
    ("relu", "Relu"), ("tanh", "Tanh"), ("sigmoid", "Sigmoid"), ("exp", "Exp"), ("log", "Log"), ("sqrt", "Sqrt"),
    ("neg", "Neg"), ("abs", "Abs"), ("erf", "Erf"), ("sin", "Sin"), ("cos", "Cos"), ("logical_not", "Not"),
):  # fmt: skip
    _KNOWN[f"{_torch}.default"] = lambda b, x, kind=_onnx: b.op(kind, x)


@_knows("clone.default", "contiguous.default", "detach.default", "alias.default", "lift_fresh_copy.default")
def _same(b: Builder, x: str) -> str:  # noqa: ARG001
    return x


@_knows("getitem")
def _item(b: Builder, values: list[str], index: int) -> str:  # noqa: ARG001
    return values[index]


@_knows("view.default", "reshape.default", "_unsafe_view.default")
def _view(b: Builder, x: str, sizes: tuple[Any, ...]) -> str:
    return b.reshape(x, *[-1 if isinstance(n, Free) else n for n in sizes])


@_knows("expand.default")
def _expand(b: Builder, x: str, sizes: tuple[Any, ...]) -> str:
    # a size of 1 leaves what is there
    return b.op("Expand", x, b.sizes(*[1 if isinstance(n, Free) or n == -1 else n for n in sizes]))


@_knows("permute.default")
def _permute(b: Builder, x: str, axes: tuple[int, ...]) -> str:
    return b.op("Transpose", x, perm=list(axes))


@_knows("slice.Tensor")
def _slice(b: Builder, x: str, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> str:
    last = 2**62 if end is None else end
    return b.op("Slice", x, b.sizes(start or 0), b.sizes(last), b.sizes(axis), b.sizes(step))


@_knows("select.int")
def _select(b: Builder, x: str, axis: int, index: int) -> str:
    return b.op("Gather", x, b.constant(index, np.int64), axis=axis)


@_knows("squeeze.dims", "squeeze.dim")
def _squeeze(b: Builder, x: str, axes: Any) -> str:
    return b.op("Squeeze", x, b.sizes(*(axes if isinstance(axes, tuple) else (axes,))))


@_knows("unsqueeze.default")
def _unsqueeze(b: Builder, x: str, axis: int) -> str:
    return b.op("Unsqueeze", x, b.sizes(axis))


@_knows("cat.default")
def _cat(b: Builder, parts: tuple[str, ...], axis: int = 0) -> str:
    return b.op("Concat", *parts, axis=axis)


@_knows("mean.dim")
def _mean(b: Builder, x: str, axes: tuple[int, ...], keep: bool = False) -> str:
    return b.mean(x, axes, keep=keep)


@_knows("sum.dim_IntList")
def _sum(b: Builder, x: str, axes: tuple[int, ...], keep: bool = False) -> str:
    return b.sum(x, axes, keep=keep)


@_knows("mm.default", "bmm.default", "matmul.default")
def _product(b: Builder, left: str, right: str) -> str:
    return b.op("MatMul", left, right)


@_knows("addmm.default")
def _addmm(b: Builder, c: str, left: str, right: str) -> str:
    return b.op("Add", b.op("MatMul", left, right), c)


@_knows("linear.default")
def _linear(b: Builder, x: str, weight: str, bias: str | None = None) -> str:
    y = b.op("MatMul", x, b.op("Transpose", weight, perm=[1, 0]))
    return y if bias is None else b.op("Add", y, bias)


@_knows("convolution.default")
def _convolution(
    b: Builder, x: str, weight: str, bias: str | None, stride: tuple[int, ...], padding: tuple[int, ...],
    dilation: tuple[int, ...], transposed: bool, extra: tuple[int, ...], groups: int,
) -> str:  # fmt: skip
    attributes: dict[str, Any] = {
        "strides": list(stride), "pads": [*padding, *padding], "dilations": list(dilation), "group": groups
    }  # fmt: skip
    if transposed:
        attributes["output_padding"] = list(extra)
    inputs = [x, weight] if bias is None else [x, weight, bias]
    return b.op("ConvTranspose" if transposed else "Conv", *inputs, **attributes)


@_knows("native_layer_norm.default")
def _layer_norm(
    b: Builder, x: str, shape: tuple[int, ...], gain: str | None, shift: str | None, eps: float
) -> list[str]:
    axes = list(range(-len(shape), 0))
    off = b.op("Sub", x, b.mean(x, axes))
    variance = b.mean(b.op("Mul", off, off), axes)
    y = b.op("Div", off, b.op("Sqrt", b.op("Add", variance, b.constant(eps))))
    y = y if gain is None else b.op("Mul", y, gain)
    return [y if shift is None else b.op("Add", y, shift)]


@_knows("_native_batch_norm_legit_no_training.default")
def _batch_norm(
    b: Builder, x: str, gain: str, shift: str, mean: str, variance: str, _momentum: float, eps: float
) -> list[str]:
    return [b.op("BatchNormalization", x, gain, shift, mean, variance, epsilon=eps)]


@_knows("gelu.default")
def _gelu(b: Builder, x: str, approximate: str = "none") -> str:
    if approximate != "none":
        cube = b.op("Mul", b.op("Mul", x, x), x)
        inner = b.op("Add", x, b.op("Mul", cube, b.constant(0.044715)))
        tanh = b.op("Tanh", b.op("Mul", inner, b.constant(math.sqrt(2 / math.pi))))
        return b.op("Mul", b.op("Mul", x, b.constant(0.5)), b.op("Add", tanh, b.constant(1.0)))
    erf = b.op("Erf", b.op("Mul", x, b.constant(math.sqrt(0.5))))
    return b.op("Mul", x, b.op("Mul", b.op("Add", erf, b.constant(1.0)), b.constant(0.5)))


@_knows("leaky_relu.default")
def _leaky(b: Builder, x: str, slope: float = 0.01) -> str:
    return b.op("LeakyRelu", x, alpha=slope)


@_knows("_softmax.default")
def _softmax(b: Builder, x: str, axis: int, half: bool = False) -> str:  # noqa: ARG001
    return b.op("Softmax", x, axis=axis)


@_knows("pow.Tensor_Scalar")
def _pow(b: Builder, x: str, power: float) -> str:
    return b.op("Pow", x, b.constant(float(power)))


@_knows("rsqrt.default")
def _rsqrt(b: Builder, x: str) -> str:
    return b.op("Reciprocal", b.op("Sqrt", x))


@_knows("max_pool2d_with_indices.default")
def _max_pool(
    b: Builder, x: str, size: tuple[int, ...], stride: tuple[int, ...] = (), pad: tuple[int, ...] = (0, 0)
) -> list[str]:
    return [b.op("MaxPool", x, kernel_shape=list(size), strides=list(stride or size), pads=[*pad, *pad])]


@_knows("avg_pool2d.default")
def _avg_pool(
    b: Builder, x: str, size: tuple[int, ...], stride: tuple[int, ...] = (), pad: tuple[int, ...] = (0, 0)
) -> str:
    pads = [*pad, *pad]
    return b.op("AveragePool", x, kernel_shape=list(size), strides=list(stride or size), pads=pads, count_include_pad=1)


@_knows("eq.Scalar")
def _equal(b: Builder, x: str, value: float) -> str:
    return b.op("Equal", x, b.constant(value))


@_knows("any.dim")
def _any(b: Builder, x: str, axis: int, keep: bool = False) -> str:
    whole = b.op("Cast", x, to=6)  # int32
    return b.op("Cast", b.op("ReduceMax", whole, axes=[axis], keepdims=int(keep)), to=9)  # bool


@_knows("full_like.default")
def _full_like(b: Builder, x: str, value: float, dtype: str | None = None) -> str:  # noqa: ARG001
    return b.op("Add", b.op("Mul", x, b.constant(0.0)), b.constant(float(value)))


@_knows("where.self")
def _where(b: Builder, condition: str, yes: str, no: str) -> str:
    return b.op("Where", condition, yes, no)
