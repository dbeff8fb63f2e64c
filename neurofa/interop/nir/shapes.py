"""Shapes behind the nodes of a NIR graph; samples have no batch axis there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hwmodels.errors import NeurofaError
from neurofa.interop.nir.parameters import integers, padding_of

Shape = tuple[int, ...]


def shape_behind(name: str, node: Any, shape: Shape, source: str) -> Shape:
    """Return the shape of a node's output for the shape of its input.

    Args:
        name: of the node, for messages.
        node: NIR node.
        shape: of its input; not used for an ``Input``.
        source: where that comes from, for messages.

    Raises:
        NeurofaError: the node takes another shape.
    """
    match type(node).__name__:
        case "Input":
            return _stated(name, node.input_type.get("input"))
        case "Output":
            if node.output_type.get("output") is None:
                return shape
            stated = _stated(name, node.output_type["output"])
            # some writers keep axes of batch and time there
            fits = tuple(s for s in stated if s != 1) == tuple(s for s in shape if s != 1)
            _require(fits, name, node, shape, source, f"{stated}")
            return shape
        case "Linear" | "Affine":
            weight = np.asarray(node.weight)
            _require(weight.ndim == 2, name, node, shape, source, "a vector, for weights of two axes")
            _require(shape == (weight.shape[1],), name, node, shape, source, f"{(weight.shape[1],)}")
            if hasattr(node, "bias"):
                _require_values(name, "bias", node.bias, (weight.shape[0],))
            return (int(weight.shape[0]),)
        case "Conv1d" | "Conv2d":
            return _behind_convolution(name, node, shape, source)
        case "SumPool2d" | "AvgPool2d":
            _require(len(shape) == 3, name, node, shape, source, "an image (C, H, W)")
            size, stride, pad = (integers(getattr(node, k), 2) for k in ("kernel_size", "stride", "padding"))
            return (shape[0], *_windows(name, node, shape, source, size, stride, pad, (1, 1)))
        case "Flatten":
            begin, end = int(node.start_dim), int(node.end_dim)
            begin, end = (i + len(shape) if i < 0 else i for i in (begin, end))
            _require(0 <= begin <= end < len(shape), name, node, shape, source, f"at least {end + 1} axes")
            return (*shape[:begin], math.prod(shape[begin : end + 1]), *shape[end + 1 :])
    for key, value in vars(node).items():
        if isinstance(value, np.ndarray | np.number | float | int) and key not in ("input_type", "output_type"):
            _require_values(name, key, value, shape)
    return shape


def _behind_convolution(name: str, node: Any, shape: Shape, source: str) -> Shape:
    weight = np.asarray(node.weight)
    n = 1 if type(node).__name__ == "Conv1d" else 2
    groups = int(node.groups)
    expected = f"({weight.shape[1] * groups}, {', '.join('HW'[-n:])})"
    fits = weight.ndim == n + 2 and len(shape) == n + 1 and groups > 0 and shape[0] == weight.shape[1] * groups
    _require(fits and weight.shape[0] % groups == 0, name, node, shape, source, expected)
    _require_values(name, "bias", node.bias, (weight.shape[0],))
    stride, dilation = integers(node.stride, n), integers(node.dilation, n)
    pad = padding_of(node.padding, n)
    if pad == "same":
        _require(set(stride) == {1}, name, node, shape, source, "stride 1 for padding 'same'")
        return (int(weight.shape[0]), *shape[1:])
    zeros = (0,) * n if isinstance(pad, str) else pad
    return (
        int(weight.shape[0]),
        *_windows(name, node, shape, source, tuple(weight.shape[2:]), stride, zeros, dilation),
    )


def _windows(
    name: str,
    node: Any,
    shape: Shape,
    source: str,
    size: Shape,
    stride: Shape,
    pad: Shape,
    dilation: Shape,
) -> Shape:
    """Return the number of windows along each spatial axis."""
    geometry = zip(shape[1:], size, stride, pad, dilation, strict=True)
    counts = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 if s > 0 and k > 0 else 0 for n, k, s, p, d in geometry)
    _require(min(counts) > 0, name, node, shape, source, f"an image that holds windows of {size}, stride above 0")
    return counts


def _stated(name: str, shape: Any) -> Shape:
    sizes = () if shape is None else tuple(int(n) for n in np.asarray(shape).reshape(-1))
    if not sizes or min(sizes) < 1:
        raise NeurofaError(f"got '{name}' of shape {sizes}; expected sizes of at least 1; correct the file")
    return sizes


def _require(fits: bool, name: str, node: Any, shape: Shape, source: str, expected: str) -> None:
    if not fits:
        raise NeurofaError(
            f"got shape {shape}{source} at {type(node).__name__} '{name}'; expected {expected}; correct the file"
        )


def _require_values(name: str, key: str, values: Any, shape: Shape) -> None:
    own = np.shape(values)
    try:
        fits = np.broadcast_shapes(own, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise NeurofaError(f"got {key} of shape {own} at '{name}'; expected {shape}, one value each; correct the file")
