"""Spiking networks in ONNX: one tick, or a loop over all of them with open numbers of ticks and samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from exports.graph.model import Model
from exports.graph.neurons import NeuronDynamics, SpikingNode
from exports.onnx.builder import GraphBuilder, value_type
from exports.onnx.inference import graph_metadata
from exports.onnx.layers import add_affine, add_node, add_weights
from hwmodels.errors import NeurofaError


class _Tick(NamedTuple):
    """Names of the results of one tick."""

    y: str
    states: dict[str, str]
    """By ``NODE.NAME``."""
    spikes: dict[str, str]
    """By node."""


def state_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Return the shape of one sample of every variable that is carried from tick to tick, by ``NODE.NAME``.

    Raises:
        NeurofaError: the network has no spiking layer.
    """
    shapes = {f"{node.name}.{key}": node.out_shape for node in _spiking_nodes(model) for key in node.states}
    if not shapes:
        raise NeurofaError("got a network without spiking layers; expected one; export the inference graph")
    return shapes


def _spiking_nodes(model: Model) -> list[SpikingNode]:
    return [node for node in model.nodes if isinstance(node, SpikingNode)]


def tick_graph(model: Model) -> Any:
    """Build the graph of one tick.

    Inputs: ``input`` (B, *input_shape) and every state; outputs: ``output`` (B, o), ``spikes.NODE`` and ``new.STATE``.

    Raises:
        NeurofaError: the network has no spiking layer, or a layer has no ONNX form.
    """
    b, shapes = GraphBuilder(), state_shapes(model)
    tick = _add_tick(b, model, "input", {key: key for key in shapes}, _add_all_weights(b, model))
    results = {"output": (tick.y, model.nodes[-1].out_shape)}
    results |= {f"spikes.{name}": (z, model.node(name).out_shape) for name, z in tick.spikes.items()}
    results |= {f"new.{key}": (value, shapes[key]) for key, value in tick.states.items()}
    outputs = {b.rename(value, name): value_type("B", *shape) for name, (value, shape) in results.items()}
    inputs = {name: value_type("B", *shape) for name, shape in {"input": model.input_shape, **shapes}.items()}
    return b.model("neurofa_step", inputs, outputs, graph_metadata(model, "step", dt=_tick_lengths(model)))


def loop_graph(model: Model) -> Any:
    """Build the graph of all ticks in one Scan, T and B being open; states begin at zero.

    Input: ``input`` (T, B, *input_shape); outputs: ``output`` (T, B, o) and ``spikes.NODE``.

    Raises:
        NeurofaError: the network has no spiking layer, or a layer has no ONNX form.
    """
    b, shapes = GraphBuilder(), state_shapes(model)
    params = _add_all_weights(b, model)  # once, outside of the loop's body
    body = GraphBuilder("body_")
    tick = _add_tick(body, model, "tick_input", {key: f"in.{key}" for key in shapes}, params)
    scanned = {"output": (tick.y, model.nodes[-1].out_shape)}
    scanned |= {f"spikes.{name}": (z, model.node(name).out_shape) for name, z in tick.spikes.items()}
    # another value for every output: a state must not be an output under the same name
    per_tick = {body.rename(z, f"tick_{name}"): value_type("B", *shape) for name, (z, shape) in scanned.items()}
    after = {body.rename(tick.states[key], f"out.{key}"): value_type("B", *shape) for key, shape in shapes.items()}
    before = {f"in.{key}": value_type("B", *shape) for key, shape in shapes.items()}
    graph = body.graph("tick", before | {"tick_input": value_type("B", *model.input_shape)}, after | per_tick)
    zero = b.onnx.helper.make_tensor("zero", b.dtype_number(torch.float32), [1], [0.0])
    size = b.op("Slice", b.op("Shape", "input"), b.sizes(1), b.sizes(2), b.sizes(0), b.sizes(1))
    starts = [
        b.op("ConstantOfShape", b.op("Concat", size, b.sizes(*shape), axis=0), value=zero) for shape in shapes.values()
    ]
    ends = [b.name("end") for _ in shapes]
    scan = b.onnx.helper.make_node(
        "Scan", [*starts, "input"], [*ends, *scanned], name="ticks", num_scan_inputs=1, body=graph
    )
    b.nodes.append(scan)
    inputs = {"input": value_type("T", "B", *model.input_shape)}
    outputs = {name: value_type("T", "B", *shape) for name, (_, shape) in scanned.items()}
    return b.model("neurofa_loop", inputs, outputs, graph_metadata(model, "loop", dt=_tick_lengths(model)))


def _tick_lengths(model: Model) -> list[float]:
    return sorted({node.neuron.dt for node in _spiking_nodes(model)})


def _add_all_weights(b: GraphBuilder, model: Model) -> dict[str, dict[str, str]]:
    """Add all arrays as initializers; those of neurons have the shape of one sample, and broadcast over the batch."""
    return {node.name: add_weights(b, node) for node in model.nodes}


def _add_tick(
    b: GraphBuilder, model: Model, x: str, states: dict[str, str], params: dict[str, dict[str, str]]
) -> _Tick:
    after, spikes = dict(states), dict[str, str]()
    for node in model.nodes:
        own = params[node.name]
        if not isinstance(node, SpikingNode):
            x = add_node(b, node, x, own).y
            continue
        node.require_raw_membrane()
        before = {key: states[f"{node.name}.{key}"] for key in node.states}
        current = add_affine(b, node.current, x, own)
        if node.pool is not None:
            current = add_node(b, node.pool, current, {}).y
        if node.recurrent is not None:
            recurrent = b.op("Gemm", b.op("Flatten", before["z"], axis=1), own["recurrent"], transB=1)
            current = b.op("Add", current, b.reshape(recurrent, -1, *node.out_shape))
        x, new = _add_neurons(b, node.neuron, current, before, own)
        if node.neuron.spikes:
            spikes[node.name] = x
        if "z" in before:
            new["z"] = x
        after |= {f"{node.name}.{key}": value for key, value in new.items()}
    return _Tick(x, after, spikes)


def _add_neurons(
    b: GraphBuilder, n: NeuronDynamics, current: str, before: dict[str, str], params: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Add the equations of :func:`exports.graph.reference.neuron_tick`, operator by operator."""
    u, after, drive, beta = before["u"], dict[str, str](), current, params["neuron_beta"]
    if n.model == "leaky":
        u = b.op("Add", b.op("Mul", beta, u), current)
        return u, {"u": u}
    theta, raised = params["neuron_threshold"], b.constant(0.0)
    if n.model == "synaptic":
        drive = after["i"] = b.op("Add", b.op("Mul", params["neuron_alpha"], before["i"]), current)
    if n.model == "alif":
        raised = b.op("Mul", params["neuron_kappa"], before["a"])
    one = b.constant(1.0)
    fired = before["z"] if n.model == "alif" else b.cast(b.op("Greater", u, theta))
    if n.reset == "zero" and n.delay and not n.gated:
        u = b.op("Mul", u, b.op("Sub", one, fired))
    u = b.op("Add", b.op("Mul", beta, u), drive)
    if n.skips:
        u = b.op("Mul", u, b.op("Sub", one, fired))
    if n.reset == "subtract" and (n.delay or n.model != "alif"):
        u = b.op("Sub", u, b.op("Mul", fired, theta))
    z = b.cast(b.op("Greater", b.op("Sub", u, theta), raised))
    if n.reset == "subtract" and not n.delay:
        now = z if n.model == "alif" else b.op("Sub", z, fired)
        u = b.op("Sub", u, b.op("Mul", now, theta))
    elif n.reset == "zero" and not n.delay:
        u = b.op("Mul", u, b.op("Sub", one, z))
    after["u"] = u
    if n.model == "alif":
        after["a"] = b.op("Add", b.op("Mul", params["neuron_rho"], before["a"]), z)
    return z, after
