"""A learning step, and a feedback pathway, as ONNX graphs."""

from __future__ import annotations

from typing import Any

import torch

from exports.graph.arrays import Array
from exports.graph.model import Model
from exports.graph.nodes import AffineNode
from exports.graph.operations import TracedNode
from exports.graph.pathways import ChainedPath, DirectPath, Learning
from exports.onnx.builder import GraphBuilder, value_type
from exports.onnx.inference import graph_metadata
from exports.onnx.signals import encode_error, teaching_signal
from exports.onnx.step import LearningStep
from hwmodels.errors import NeurofaError

_REFUSED = ("momentum", "nesterov", "maximize", "clip", "clamp", "calibrate")
"""Options of rule and optimizer that no graph has."""


def learning_graph(model: Model) -> Any:
    """Build the graph of one update of plain SGD by the model's rule, in any batch size.

    Inputs: ``input`` (B, *input_shape), ``target`` (B,) labels (int64) or (B, o) values, ``lr`` (0-dim), and every
    array that learns by its name ``LAYER.ARRAY``. Outputs: ``output`` (B, o) before the update, ``loss_error`` (B, o),
    and ``new.NAME`` for every array that learns. Feedback that does not learn is inside.

    Raises:
        NeurofaError: a rule, optimizer or layer without such a graph, with the reason.
    """
    learning = _require_graph(model)
    step = LearningStep(model, learning)
    b = step.b
    new = {b.rename(value, f"new.{name}"): value_type(*step.learns[name].shape) for name, value in step.new.items()}
    row = value_type("B", model.outputs)
    outputs = {b.rename(step.y, "output"): row, b.rename(step.error, "loss_error"): row, **new}
    target = value_type("B", dtype=torch.int64) if model.loss == "cross_entropy" else row
    arrays = {name: value_type(*array.shape) for name, array in step.learns.items()}
    inputs = {"input": value_type("B", *model.input_shape), "target": target, "lr": value_type(), **arrays}
    metadata = graph_metadata(model, "learning", rule=learning.spec, lr=learning.constants.get("lr"))
    return b.model("neurofa_learning", inputs, outputs, metadata)


def initial_values(model: Model) -> dict[str, Array]:
    """Return the arrays that learn, by the name of their input in the learning graph.

    Raises:
        NeurofaError: as :func:`learning_graph`.
    """
    return LearningStep(model, _require_graph(model)).learns


def feedback_graph(model: Model) -> Any:
    """Build the graph from ``error`` (B, o) to ``teaching.LAYER`` for every hidden layer.

    A chained pathway needs ``input`` too. Of a noisy pathway this is the ideal part: the linear map with its static
    errors.

    Raises:
        NeurofaError: a pathway without such a graph, with the reason.
    """
    path, row = model.feedback, value_type("B", model.outputs)
    inputs = {"error": row}
    if isinstance(path, DirectPath):
        b = GraphBuilder()
        sent = encode_error(b, model.error, "error")
        signals = {part.layer: teaching_signal(b, path, part, sent) for part in path.slices}
        shapes = {part.layer: part.shape for part in path.slices}
    elif isinstance(path, ChainedPath):
        step = LearningStep(model, _require_graph(model), only_errors=True)
        b, signals = step.b, step.delivered
        inputs = {"input": value_type("B", *model.input_shape), **inputs}
        shapes = {name: model.node(name).out_shape for name in signals}
    else:
        raise NeurofaError(
            f"got the feedback of rule '{model.learning.rule if model.learning else '?'}' for ONNX; expected a direct"
            " or chained pathway; export to HDF5"
        )
    outputs = {b.rename(value, f"teaching.{name}"): value_type("B", *shapes[name]) for name, value in signals.items()}
    metadata = graph_metadata(model, "feedback", ideal_part_of_a_noisy_pathway=not path.exact)
    return b.model("neurofa_feedback", inputs, outputs, metadata)


def _require_graph(model: Model) -> Learning:
    """Return the constants of rule and optimizer; refuse a model whose step has no graph."""
    for node in model.nodes:
        if node.has_memory:
            raise NeurofaError(
                f"got spiking neurons at '{node.name}' for a graph of errors or learning; expected layers without a"
                " memory, since eligibility traces are not written out; take the step, the loop and a direct feedback,"
                " or export to HDF5"
            )
    learning = model.learning
    if learning is None or learning.plasticity is None:
        raise NeurofaError(
            f"got rule '{'none' if learning is None else learning.rule}' for a learning graph; expected one that"
            " declares its whole step, as dfa, fa and kp do; export to HDF5"
        )
    if model.converters:
        raise NeurofaError(
            "got converters around the weights for a learning graph; expected exact products; export to HDF5"
        )
    constants = learning.constants
    other = [f"{key}={constants[key]}" for key in _REFUSED if constants.get(key)]
    if constants.get("accumulate", 1) != 1:
        other.append(f"accumulate={constants['accumulate']}")
    if learning.optimizer != "SGD":
        other.insert(0, learning.optimizer)
    if other:
        raise NeurofaError(
            f"got {other[0]} for a learning graph; expected plain SGD without them; train with sgd(lr=...)"
        )
    for node in model.nodes:
        devices = [array.device for array in node.arrays().values() if array.device != "digital"]
        if devices:
            raise NeurofaError(
                f"got weights on {devices[0]} at '{node.name}' for a learning graph; expected digital ones: writes to a"
                " device draw random numbers; export to HDF5"
            )
        if isinstance(node, TracedNode):
            raise NeurofaError(
                f"got a block at '{node.name}' for a learning graph; expected dense and convolutional layers, whose"
                " local derivatives are written out; export to HDF5"
            )
        if isinstance(node, AffineNode) and node.dropout:
            raise NeurofaError(
                f"got dropout at '{node.name}' for a learning graph; expected none: it draws; take it out"
            )
    return learning
