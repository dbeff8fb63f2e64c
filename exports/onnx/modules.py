"""Traced modules in ONNX operators, compared with torch before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from exports.graph.operations import Op, Ref, TracedNode
from exports.onnx.aten import RANKED, TRANSLATORS
from exports.onnx.builder import GraphBuilder, value_type
from exports.onnx.runtime import Runtime
from hwmodels.errors import NeurofaError

CLOSE = 1e-4
"""Largest difference from torch, in units of the largest output (at least 1)."""


def add_module(b: GraphBuilder, node: TracedNode, x: str, params: Mapping[str, str]) -> str:
    """Add all operations of a traced module; return the name of its output.

    Args:
        b: the graph.
        node: the module.
        x: name of the input.
        params: names of the module's arrays.

    Raises:
        NeurofaError: an operation without an ONNX form, or with another result there than in torch; it is named.
    """
    if node.reason:
        raise NeurofaError(node.reason)
    _compare(node)
    return _add_operations(b, node, x, params)


def _compare(node: TracedNode) -> None:
    """Run a module's operations in onnxruntime, and compare the output with torch's.

    Raises:
        NeurofaError: they differ, or the graph is refused.
    """
    if node.example is None:
        return
    given, wanted = node.example
    b = GraphBuilder()
    params = {key: b.weight(key, array.values) for key, array in node.arrays().items()}
    y = b.rename(_add_operations(b, node, "input", params), "output")
    ends = {name: value_type("B", *t.shape[1:], dtype=t.dtype) for name, t in (("input", given), (y, wanted))}
    expected = "expected operations that are the same there; write the module with other ones, or export to HDF5"
    try:
        found = Runtime(b.model("layer", {"input": ends["input"]}, {y: ends[y]}, {}))({"input": given})[y]
    except Exception as error:  # onnxruntime has no common base for its errors
        reason = (str(error) or type(error).__name__).splitlines()[0].partition("; expected")[0]
        raise NeurofaError(f"got layer '{node.name}' in a form that ONNX refuses ({reason}); {expected}") from None
    wanted = wanted.cpu()
    same = found.shape == wanted.shape
    size = max(1.0, float(wanted.abs().amax()))
    if not same or not torch.allclose(found, wanted, rtol=0, atol=CLOSE * size, equal_nan=True):
        off = f"{float((found - wanted).abs().amax()):.2g} off" if same else f"of shape {tuple(found.shape)}"
        kinds = ", ".join(dict.fromkeys(op.target.partition(".")[0] for op in node.ops))
        raise NeurofaError(f"got an ONNX form of layer '{node.name}' ({kinds}) whose outputs are {off}; {expected}")


def _add_operations(b: GraphBuilder, node: TracedNode, x: str, params: Mapping[str, str]) -> str:
    names: dict[str, Any] = {"x": x} | {ref: params[key] for key, ref in node.placeholders.items()}
    for op in node.ops:
        if op.target not in TRANSLATORS:
            raise NeurofaError(
                f"got operation '{op.target}' in layer '{node.name}'; expected one with an ONNX form here; write the"
                " module with other operations, or export to HDF5"
            )
        try:
            names[op.name] = _add_operation(b, op, names)
        except TypeError:  # a translator that does not know an option
            raise NeurofaError(
                f"got operation '{op.target}' in layer '{node.name}' with options {_options(op)}; expected those that"
                " have an ONNX form here; write the module without them, or export to HDF5"
            ) from None
    return str(names[node.result])


def _add_operation(b: GraphBuilder, op: Op, names: Mapping[str, Any]) -> Any:
    def resolve(value: Any) -> Any:
        if isinstance(value, Ref):
            return names[value.name]
        return tuple(resolve(v) for v in value) if isinstance(value, tuple) else value

    kwargs = {key: resolve(value) for key, value in op.kwargs.items()}
    if op.target in RANKED:
        kwargs["rank"] = op.rank
    return TRANSLATORS[op.target](b, *(resolve(a) for a in op.args), **kwargs)


def _options(op: Op) -> str:
    plain = [str(a) for a in op.args if not isinstance(a, Ref)]
    return ", ".join([*plain, *(f"{key}={value}" for key, value in op.kwargs.items())]) or "none"
