"""The inference graph, in floating point or with 8-bit quantisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from exports.graph.arrays import Array, Matrix
from exports.graph.model import Model
from exports.graph.nodes import Node
from exports.onnx.builder import GraphBuilder, ValueType, value_type
from exports.onnx.layers import add_node, add_weights
from exports.onnx.runtime import Runtime
from exports.programming.integers import NumberFormat, quantization_of
from hwmodels.errors import NeurofaError

INT8 = NumberFormat(bits=8, per="channel")


def inference_graph(model: Model) -> Any:
    """Build the graph from ``input`` (B, *input_shape) to ``output`` (B, o), with an open batch.

    Raises:
        NeurofaError: a layer has no ONNX form, or the weights take 2 GiB or more.
    """
    b, x = GraphBuilder(), "input"
    for node in model.nodes:
        x = add_node(b, node, x, add_weights(b, node)).y
    return _finish(b, model, x, "inference")


def int8_inference_graph(model: Model, samples: Tensor) -> Any:
    """Build the inference graph with int8 weights (one scale for each row) and 8-bit inputs of all layers with weights.

    Weights stand as int8 behind a DequantizeLinear; inputs of layers pass QuantizeLinear and DequantizeLinear (uint8,
    one scale) over the range that they have on the samples: the form that runtimes turn into integer arithmetic.

    Args:
        model: the network.
        samples: (N, *input_shape), from which the ranges are taken.

    Raises:
        NeurofaError: as :func:`inference_graph`; or there are no samples.
    """
    if not len(samples):
        raise NeurofaError("got no samples to find ranges with; expected one at least; give some of the training data")
    ranges = _input_ranges(model, samples)
    b, x = GraphBuilder(), "input"
    for node in model.nodes:
        if node.name in ranges:
            x = _as_uint8(b, node.name, x, *ranges[node.name])
        params = {key: _int8_weight(b, node, key, array) for key, array in node.arrays().items()}
        x = add_node(b, node, x, params).y
    return _finish(b, model, x, "inference_int8")


def _input_ranges(model: Model, samples: Tensor) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest input of every layer with weights, by running the graph."""
    b, x, dtype = GraphBuilder(), "input", samples.dtype
    outputs: dict[str, ValueType] = {}
    for node in model.nodes:
        if node.arrays():
            outputs[b.rename(x, f"input_of_{node.name}")] = value_type("B", *node.in_shape, dtype=dtype)
        x = add_node(b, node, x, add_weights(b, node)).y
    outputs[b.rename(x, "output")] = value_type("B", model.outputs, dtype=dtype)
    probe = b.model("ranges", {"input": value_type("B", *model.input_shape, dtype=dtype)}, outputs, {})
    values = Runtime(probe)({"input": samples})
    del values["output"]
    return {name.removeprefix("input_of_"): (float(x.amin()), float(x.amax())) for name, x in values.items()}


def _as_uint8(b: GraphBuilder, name: str, x: str, low: float, high: float) -> str:
    low, high = min(low, 0.0), max(high, 0.0)  # zero is exact
    step = max((high - low) / 255, float(np.finfo(np.float32).tiny))
    scale = b.weight(f"{name}.input_scale", np.asarray(step, dtype=np.float32))
    zero = b.weight(f"{name}.input_zero_point", np.asarray(round(-low / step), dtype=np.uint8))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, scale, zero), scale, zero)


def _int8_weight(b: GraphBuilder, node: Node, key: str, array: Array) -> str:
    name = f"{node.name}.{key}"
    if not isinstance(array, Matrix):
        return b.weight(name, array.values)
    quantization = quantization_of(array, INT8)
    codes = quantization.codes(array.values, slice(None))
    if codes.dtype != torch.int8:
        bits = quantization.format.bits
        raise NeurofaError(f"got '{name}' in words of {bits} bits; expected 8 at most; export to HDF5")
    rows = len(codes)
    scale = b.weight(f"{name}_scale", quantization.scale.expand(rows).to(torch.float32))
    zero = b.weight(f"{name}_zero_point", quantization.zero.expand(rows).to(torch.int8))
    return b.op("DequantizeLinear", b.weight(f"{name}_codes", codes), scale, zero, axis=0)


def _finish(b: GraphBuilder, model: Model, x: str, part: str) -> Any:
    dtype = next((a.values.dtype for node in model.nodes for a in node.arrays().values()), torch.float32)
    outputs = {b.rename(x, "output"): value_type("B", model.outputs, dtype=dtype)}
    inputs = {"input": value_type("B", *model.input_shape, dtype=dtype)}
    return b.model(f"neurofa_{part}", inputs, outputs, graph_metadata(model, part))


def graph_metadata(model: Model, part: str, **more: Any) -> dict[str, Any]:
    """Return the metadata of a graph: format, part, and where the model comes from.

    Args:
        model: the network.
        part: name of the graph.
        more: further JSON values.
    """
    return {"format": "neurofa-onnx", "format_version": "1.0", "part": part, **model.provenance, **more}
