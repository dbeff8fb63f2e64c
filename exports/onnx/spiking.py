"""Spiking networks in ONNX: one tick, or a loop over all of them with open numbers of ticks and samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from exports.graph.model import Model
from exports.graph.neurons import NeuronDynamics, SpikingNode
from exports.graph.reference import state_names
from exports.onnx.builder import Builder
from exports.onnx.inference import metadata
from exports.onnx.layers import affine, forward, weights
from hwmodels.errors import NeurofaError

Shapes = dict[str, tuple[int, ...]]


def states(model: Model) -> Shapes:
    """Shape of one sample of everything that is carried from tick to tick, by ``NODE.NAME``.

    Raises:
        NeurofaError: nothing spikes.
    """
    found = {
        f"{node.name}.{key}": node.out_shape
        for node in model.nodes
        if isinstance(node, SpikingNode)
        for key in state_names(node)
    }
    if not found:
        raise NeurofaError("got a network without spiking layers; expected one; export the inference graph")
    return found


def step(model: Model) -> Any:
    """One tick: ``input`` (B, *input_shape) and every state in; ``output``, ``spikes.NODE`` and ``new.STATE`` out."""
    b, known = Builder(), states(model)
    names = _weights(b, model)
    y, after, spikes = _tick(b, model, "input", {key: key for key in known}, names)
    b.rename(y, "output")
    for name, z in spikes.items():
        b.rename(z, f"spikes.{name}")
    for key, value in after.items():
        b.rename(value, f"new.{key}")
    f, size = torch.float32, "B"
    inputs = {"input": (f, (size, *model.input_shape))} | {key: (f, (size, *shape)) for key, shape in known.items()}
    outputs = {"output": (f, (size, *model.nodes[-1].out_shape))}
    outputs |= {f"spikes.{name}": (f, (size, *model.node(name).out_shape)) for name in spikes}
    outputs |= {f"new.{key}": (f, (size, *shape)) for key, shape in known.items()}
    return b.model("neurofa_step", inputs, outputs, metadata(model, "step", dt=_dt(model)))


def loop(model: Model) -> Any:
    """All ticks in one Scan: ``input`` (T, B, *input_shape) in; ``output`` (T, B, o) and ``spikes.NODE`` out.

    T and B are open; states begin at zero. Weights stand once, outside of the loop's body.
    """
    b, known = Builder(), states(model)
    names = _weights(b, model)
    inner = Builder("body_")
    y, after, spikes = _tick(inner, model, "tick_input", {key: f"in.{key}" for key in known}, names)
    scanned = {"tick_output": (y, model.nodes[-1].out_shape)}
    scanned |= {f"tick_spikes.{name}": (z, model.node(name).out_shape) for name, z in spikes.items()}
    f = torch.float32
    # another value for every output: a state must not be an output under the same name
    for name, (value, _) in scanned.items():
        inner.rename(value, name)
    for key, value in after.items():
        inner.rename(value, f"out.{key}")
    body = inner.graph(
        "tick",
        {f"in.{key}": (f, ("B", *shape)) for key, shape in known.items()}
        | {"tick_input": (f, ("B", *model.input_shape))},
        {f"out.{key}": (f, ("B", *shape)) for key, shape in known.items()}
        | {name: (f, ("B", *shape)) for name, (_, shape) in scanned.items()},
    )
    zero = b.onnx.helper.make_tensor("zero", b.type(f), [1], [0.0])
    size = b.op("Slice", b.op("Shape", "input"), b.sizes(1), b.sizes(2), b.sizes(0), b.sizes(1))
    starts = [
        b.op("ConstantOfShape", b.op("Concat", size, b.sizes(*shape), axis=0), value=zero) for shape in known.values()
    ]
    ends = [b.name("end") for _ in known]
    results = ["output", *[f"spikes.{name}" for name in spikes]]
    b.nodes.append(
        b.onnx.helper.make_node(
            "Scan", [*starts, "input"], [*ends, *results], name="ticks", num_scan_inputs=1, body=body
        )
    )
    outputs = {"output": (f, ("T", "B", *model.nodes[-1].out_shape))}
    outputs |= {f"spikes.{name}": (f, ("T", "B", *model.node(name).out_shape)) for name in spikes}
    return b.model(
        "neurofa_loop", {"input": (f, ("T", "B", *model.input_shape))}, outputs, metadata(model, "loop", dt=_dt(model))
    )


def _dt(model: Model) -> list[float]:
    return sorted({node.neuron.dt for node in model.nodes if isinstance(node, SpikingNode)})


def _weights(b: Builder, model: Model) -> dict[str, dict[str, str]]:
    found = {}
    for node in model.nodes:
        found[node.name] = weights(b, node)
        if isinstance(node, SpikingNode):
            # one sample of a parameter, broadcast over the batch
            own = {key: array for key, array in node.arrays().items() if key.startswith("neuron_")}
            found[node.name] |= {k: b.weight(f"{node.name}.{k}", a.values) for k, a in own.items()}
    return found


def _tick(
    b: Builder, model: Model, x: str, before: dict[str, str], names: dict[str, dict[str, str]]
) -> tuple[str, dict[str, str], dict[str, str]]:
    after, spikes = dict(before), dict[str, str]()
    for node in model.nodes:
        params = names[node.name]
        if not isinstance(node, SpikingNode):
            x = forward(b, node, x, params).y
            continue
        own = {key: before[f"{node.name}.{key}"] for key in state_names(node)}
        node.neuron.computable(node.name)
        current = affine(b, node.current, x, params)
        if node.pool is not None:
            current = forward(b, node.pool, current, {}).y
        if node.recurrent is not None:
            back = b.op("Gemm", b.op("Flatten", own["z"], axis=1), params["recurrent"], transB=1)
            current = b.op("Add", current, b.reshape(back, -1, *node.out_shape))
        x, new = _neuron(b, node.neuron, current, own, params)
        if node.neuron.spikes:
            spikes[node.name] = x
        if "z" in own:
            new["z"] = x
        after |= {f"{node.name}.{key}": value for key, value in new.items()}
    return x, after, spikes


def _neuron(
    b: Builder, n: NeuronDynamics, current: str, own: dict[str, str], params: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """The equations of :func:`exports.graph.reference.neuron`, operator by operator."""

    def fires(u: str, level: str) -> str:
        return b.op("Cast", b.op("Greater", u, level), to=1)

    u, found, drive, beta = own["u"], dict[str, str](), current, params["neuron_beta"]
    if n.model == "leaky":
        u = b.op("Add", b.op("Mul", beta, u), current)
        return u, {"u": u}
    theta, raised = params["neuron_threshold"], b.constant(0.0)
    if n.model == "synaptic":
        drive = found["i"] = b.op("Add", b.op("Mul", params["neuron_alpha"], own["i"]), current)
    if n.model == "alif":
        raised = b.op("Mul", params["neuron_kappa"], own["a"])
    one = b.constant(1.0, np.float32)
    fired = own["z"] if n.model == "alif" else fires(u, theta)
    if n.reset == "zero" and n.delay and not n.gated:
        u = b.op("Mul", u, b.op("Sub", one, fired))
    u = b.op("Add", b.op("Mul", beta, u), drive)
    if n.skips:
        u = b.op("Mul", u, b.op("Sub", one, fired))
    if n.reset == "subtract" and (n.delay or n.model != "alif"):
        u = b.op("Sub", u, b.op("Mul", fired, theta))
    z = fires(b.op("Sub", u, theta), raised)
    if n.reset == "subtract" and not n.delay:
        now = z if n.model == "alif" else b.op("Sub", z, fired)
        u = b.op("Sub", u, b.op("Mul", now, theta))
    elif n.reset == "zero" and not n.delay:
        u = b.op("Mul", u, b.op("Sub", one, z))
    found["u"] = u
    if n.model == "alif":
        found["a"] = b.op("Add", b.op("Mul", params["neuron_rho"], own["a"]), z)
    return z, found
