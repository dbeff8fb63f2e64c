"""From errors to teaching signals in ONNX operators: number format of the error, and rows of a feedback matrix."""

from __future__ import annotations

import numpy as np

from exports.graph.pathways import DirectPath, ErrorEncoding, Slice
from exports.onnx.builder import GraphBuilder
from hwmodels.errors import NeurofaError


def encode_error(b: GraphBuilder, encoding: ErrorEncoding | None, error: str) -> str:
    """Add the nodes that round an error to the number format of the pathway; return the name of the rounded error.

    Args:
        b: the graph.
        encoding: the number format; None: the error passes as it is.
        error: name of the error.

    Raises:
        NeurofaError: a format that draws random numbers, or one without an ONNX form.
    """
    if encoding is None or encoding.format == "raw":
        return error
    constants = encoding.constants
    if encoding.format == "sign":
        return b.op("Sign", error)
    if encoding.format == "ternary":
        size, threshold = b.op("Abs", error), b.constant(constants["threshold"])
        if constants["relative"]:
            threshold = b.op("Mul", b.op("ReduceMean", size, keepdims=0), threshold)
        keep = b.cast(b.op("Greater", size, threshold))
        return b.op("Mul", b.op("Sign", error), keep)
    symmetric = constants.get("symmetric") and constants.get("per") == "tensor"
    if encoding.format == "uniform" and symmetric and constants.get("rounding") == "nearest":
        return _uniform(b, int(encoding.bits), constants["range"], error)
    options = ", ".join(f"{k}={v}" for k, v in constants.items())
    raise NeurofaError(
        f"got errors in the format {encoding.format}({options}) for ONNX; expected raw, sign, ternary, or uniform"
        " symmetric per tensor to the nearest; export to HDF5"
    )


def _uniform(b: GraphBuilder, bits: int, limit: float | None, error: str) -> str:
    """Add the error rounded to multiples of its range over the largest code; without a limit, of its largest value."""
    top = float(2 ** (bits - 1) - 1)
    full = b.op("ReduceMax", b.op("Abs", error), keepdims=0) if limit is None else b.constant(limit)
    # the smallest normal number in the place of a scale of 0, which an error of zeros would give
    scale = b.op("Max", b.op("Div", full, b.constant(top)), b.constant(np.finfo(np.float32).tiny))
    codes = b.op("Clip", b.op("Round", b.op("Div", error, scale)), b.constant(-top), b.constant(top))
    return b.op("Mul", codes, scale)


def teaching_signal(b: GraphBuilder, path: DirectPath, part: Slice, sent: str, matrix: str | None = None) -> str:
    """Add the teaching signal of one layer, (B, *shape): its rows of B times the encoded error; return its name.

    Args:
        b: the graph.
        path: the pathway.
        part: the layer's rows.
        sent: name of the encoded error, (B, o).
        matrix: name of B where it is an input of the graph; None: the rows become an initializer.

    Raises:
        NeurofaError: the pathway has no linear map.
    """
    if path.matrix is None:
        raise NeurofaError(
            f"got the feedback '{path.hardware.kind if path.hardware else ''}' without a linear map for ONNX; expected"
            " one; use a linear detection, or export to HDF5"
        )
    first, last = part.rows
    if matrix is None:
        rows = b.weight(f"feedback.{part.layer}", path.matrix.values[first:last])
    else:
        rows = b.op("Slice", matrix, b.sizes(first), b.sizes(last), b.sizes(0), b.sizes(1))
    signal = b.op("Gemm", sent, rows, transB=1, **({} if part.factor == 1 else {"alpha": part.factor}))
    if part.spread == "own":
        return b.reshape(signal, -1, *part.shape) if len(part.shape) > 1 else signal
    # one value for each channel, spread over all positions
    channels = [n if axis == part.channel_axis else 1 for axis, n in enumerate(part.shape)]
    return b.op("Expand", b.reshape(signal, -1, *channels), b.sizes(1, *part.shape))
