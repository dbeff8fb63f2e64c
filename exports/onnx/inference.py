"""The inference graph, in floating point or with 8-bit quantisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from exports.graph.arrays import Array, Matrix
from exports.graph.model import Model
from exports.graph.nodes import AffineNode, Node
from exports.graph.operations import TracedNode
from exports.onnx.builder import Builder
from exports.onnx.layers import forward, weights
from exports.onnx.runtime import Runtime
from exports.programming.integers import NumberFormat, scales
from hwmodels.errors import NeurofaError

INT8 = NumberFormat(bits=8, per="channel")


def inference(model: Model) -> Any:
    """``input`` (B, *input_shape) to ``output`` (B, o), with an open batch.

    Raises:
        NeurofaError: a layer has no ONNX form, or weights of 2 GiB and more.
    """
    b = Builder()
    x = "input"
    for node in model.nodes:
        x = forward(b, node, x, weights(b, node)).y
    return _close(b, model, x, "inference")


def inference_int8(model: Model, samples: Tensor) -> Any:
    """The same with whole-number weights (int8, one scale a row) and 8-bit inputs of every layer with weights.

    Weights stand as int8 behind a DequantizeLinear, inputs of layers pass QuantizeLinear and DequantizeLinear (uint8,
    one scale) over the range that they have on the samples: the form that runtimes turn into integer arithmetic.

    Args:
        model: the network.
        samples: (N, *input_shape), of which ranges are taken.

    Raises:
        NeurofaError: as :func:`inference`; no samples.
    """
    if not len(samples):
        raise NeurofaError("got no samples to find ranges with; expected one at least; give some of the training data")
    ranges = _ranges(model, samples)
    b = Builder()
    x = "input"
    for node in model.nodes:
        if node.name in ranges:
            x = _as_uint8(b, node.name, x, *ranges[node.name])
        params = {key: _weight(b, node, key, array) for key, array in node.arrays().items()}
        x = forward(b, node, x, params).y
    return _close(b, model, x, "inference_int8")


def _has_weights(node: Node) -> bool:
    return isinstance(node, AffineNode | TracedNode) and bool(node.arrays())


def _ranges(model: Model, samples: Tensor) -> dict[str, tuple[float, float]]:
    """Smallest and largest input of every layer with weights, found by running the graph."""
    b, x = Builder(), "input"
    probed: dict[str, str] = {}
    for node in model.nodes:
        if _has_weights(node):
            probed[node.name] = b.rename(x, f"input_of_{node.name}")
        x = forward(b, node, x, weights(b, node)).y
    b.rename(x, "output")
    dtype = samples.dtype
    shapes = {f"input_of_{node.name}": (dtype, ("B", *node.in_shape)) for node in model.nodes if node.name in probed}
    outputs = shapes | {"output": (dtype, ("B", model.outputs))}
    made = b.model("ranges", {"input": (dtype, ("B", *model.input_shape))}, outputs, {})
    found = Runtime(made)({"input": samples})
    return {name: (float(found[key].amin()), float(found[key].amax())) for name, key in probed.items()}


def _as_uint8(b: Builder, name: str, x: str, low: float, high: float) -> str:
    low, high = min(low, 0.0), max(high, 0.0)  # zero is exact
    step = max((high - low) / 255, float(np.finfo(np.float32).tiny))
    scale = b.weight(f"{name}.input_scale", np.asarray(step, dtype=np.float32))
    zero = b.weight(f"{name}.input_zero_point", np.asarray(round(-low / step), dtype=np.uint8))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, scale, zero), scale, zero)


def _weight(b: Builder, node: Node, key: str, array: Array) -> str:
    name = f"{node.name}.{key}"
    if not isinstance(array, Matrix):
        return b.weight(name, array.values)
    found = scales(array, INT8)
    codes = found.codes(array.values, slice(None))
    if codes.dtype != torch.int8:
        raise NeurofaError(f"got '{name}' in words of {found.format.bits} bits; expected 8 at most; export to HDF5")
    rows = len(codes)
    scale = b.weight(f"{name}_scale", found.scale.expand(rows).to(torch.float32))
    zero = b.weight(f"{name}_zero_point", found.zero.expand(rows).to(torch.int8))
    return b.op("DequantizeLinear", b.weight(f"{name}_codes", codes), scale, zero, axis=0)


def _close(b: Builder, model: Model, x: str, part: str) -> Any:
    dtype = next((a.values.dtype for node in model.nodes for a in node.arrays().values()), torch.float32)
    b.rename(x, "output")
    return b.model(
        f"neurofa_{part}", {"input": (dtype, ("B", *model.input_shape))}, {"output": (dtype, ("B", model.outputs))},
        metadata(model, part),
    )  # fmt: skip


def metadata(model: Model, part: str, **more: Any) -> dict[str, Any]:
    """What every graph says of itself."""
    return {"format": "neurofa-onnx", "format_version": "1.0", "part": part, **model.provenance, **more}
