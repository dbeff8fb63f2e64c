"""Graphs of NIR, written by hand: arrays instead of scalars, explicit reset and dt, nothing that changes silently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exports.files.optional import need
from exports.graph.arrays import Array
from exports.graph.model import Model
from exports.graph.neurons import NeuronDynamics, SpikingNode
from exports.graph.nodes import ConvNode, DenseNode, FlattenNode, Node, PoolNode
from exports.graph.pathways import DirectPath
from exports.graph.reference import run
from hwmodels.errors import NeurofaError
from hwmodels.files import atomic_path
from neurofa.core.randomness import generator

TICKS, SAMPLES, RATE = 50, 16, 0.3
"""Of the random spikes with which a change of the reset is measured."""


@dataclass(frozen=True)
class Mismatch:
    """What a change of the reset does to one layer's spikes."""

    layer: str
    share: float
    """Of all slots (tick, sample, neuron) in which the spikes differ, 0 to 1."""
    spikes: tuple[int, int]
    """Spikes of the layer before and after the change."""


def forward(
    model: Model, *, convert: bool = False, dt: float | None = None, inputs: Tensor | None = None
) -> tuple[Any, list[Mismatch]]:
    """The network as a NIR graph.

    A decay beta a tick of dt seconds is the time constant tau = dt / (1 - beta), and R = tau / dt: v <- beta v + I.

    Args:
        model: of spiking layers, pooling by means and flattening.
        convert: where neurons reset in a way that NIR cannot say, let them reset to zero, and measure what changes.
        dt: length of a tick for the time constants, s; None: that of the neurons. snnTorch reads all graphs with 1e-4.
        inputs: (T, B, *input_shape) spikes to measure with; None: random ones.

    Returns:
        The graph, and what changed.

    Raises:
        NeurofaError: a neuron, reset or layer that NIR has no word for; it is named, with what can be done.
    """
    nir = need("nir")
    changed: list[Mismatch] = []
    odd = [node for node in model.nodes if isinstance(node, SpikingNode) and _odd(node)]
    for node in model.nodes:
        if isinstance(node, SpikingNode):
            node.neuron.computable(node.name)
        if isinstance(node, SpikingNode) and node.neuron.model == "alif":
            raise NeurofaError(
                f"got adaptive thresholds at '{node.name}' for NIR; expected lif, synaptic or leaky neurons, it has"
                " no node"
                " for them; export to ONNX or HDF5"
            )
    if odd and not convert:
        raise NeurofaError(
            f"got reset '{odd[0].neuron.reset}'{' that drops the next drive' if odd[0].neuron.skips else ''} at"
            f" '{odd[0].name}' for NIR; expected reset to zero, the only one that NIR can say; convert with a measured"
            " change of the spikes (--convert-reset), train with reset=zero, or export to ONNX or HDF5"
        )
    if odd:
        model, changed = _converted(model, inputs)
    nodes: dict[str, Any] = {"input": nir.Input(np.array(model.input_shape))}
    edges, last = list[tuple[str, str]](), "input"
    for node in model.nodes:
        last = _add(nir, node, nodes, edges, last, dt)
    nodes["output"] = nir.Output(np.array(model.nodes[-1].out_shape))
    edges.append((last, "output"))
    told = {m.layer: {"share": m.share, "spikes_before": m.spikes[0], "spikes_after": m.spikes[1]} for m in changed}
    about = {"neurofa": {"format_version": "1.0", "part": "forward", "reset_converted": str(told or "no")}}
    return nir.NIRGraph(nodes, edges, metadata=about), changed


def feedback(model: Model) -> Any:
    """The feedback as a NIR graph of its own: ``error`` to ``teaching_LAYER`` through Linear nodes ``fb_LAYER``.

    Raises:
        NeurofaError: a pathway that is no matrix.
    """
    nir = need("nir")
    path = model.feedback
    if not isinstance(path, DirectPath) or path.matrix is None:
        raise NeurofaError("got a feedback without a matrix for NIR; expected a direct one; export to ONNX or HDF5")
    nodes: dict[str, Any] = {"error": nir.Input(np.array((model.outputs,)))}
    edges = []
    for part in path.slices:
        rows = path.matrix.values[part.rows[0] : part.rows[1]]
        about = {"neurofa": {"layer": part.layer, "shape": np.array(part.shape), "spread": part.spread}}
        nodes[f"fb_{part.layer}"] = nir.Linear(weight=_numpy(rows), metadata=about)
        nodes[f"teaching_{part.layer}"] = nir.Output(np.array((len(rows),)))
        edges += [("error", f"fb_{part.layer}"), (f"fb_{part.layer}", f"teaching_{part.layer}")]
    encoding = "raw" if model.error is None else model.error.format
    about = {"neurofa": {"format_version": "1.0", "part": "feedback", "error_encoding": encoding}}
    return nir.NIRGraph(nodes, edges, metadata=about)


def save(graph: Any, path: Path) -> None:
    """Write a graph whole.

    Raises:
        NeurofaError: the place cannot be written.
    """
    nir = need("nir")
    with atomic_path(path) as part:
        nir.write(part, graph)


def _odd(node: SpikingNode) -> bool:
    return node.neuron.spikes and (node.neuron.reset != "zero" or node.neuron.skips)


def zeroed(model: Model) -> Model:
    """The model as NIR can say it: neurons that reset in another way reset to zero."""
    return replace(model, nodes=tuple(
        replace(node, neuron=replace(node.neuron, reset="zero", gated=False))
        if isinstance(node, SpikingNode) and _odd(node) else node
        for node in model.nodes
    ))  # fmt: skip


def _converted(model: Model, inputs: Tensor | None) -> tuple[Model, list[Mismatch]]:
    gen = generator(0, "reset")
    shape = (TICKS, SAMPLES, *model.input_shape)
    xs = (torch.rand(shape, generator=gen) < RATE).float() if inputs is None else inputs
    changed = zeroed(model)
    before, after = run(model, xs)[1], run(changed, xs)[1]
    found = [
        Mismatch(
            name, float((before[name] != after[name]).float().mean()), (int(before[name].sum()), int(after[name].sum()))
        )
        for name in before
    ]
    return changed, found


def _numpy(values: Tensor | Array) -> np.ndarray[Any, Any]:
    tensor = values.values if isinstance(values, Array) else values
    found: np.ndarray[Any, Any] = tensor.detach().cpu().contiguous().numpy()
    return found


def _add(nir: Any, node: Node, nodes: dict[str, Any], edges: list[tuple[str, str]], last: str, dt: float | None) -> str:
    """Add one layer behind ``last``; returns the name of what comes out of it."""
    if isinstance(node, SpikingNode):
        into, out = f"{node.name}_w", node.name
        nodes[into] = _current(nir, node.current)
        nodes[out] = _neuron(nir, node, dt)
        edges.append((last, into))
        if node.pool is not None:
            into = _add(nir, node.pool, nodes, edges, into, dt)
        edges.append((into, out))
        if node.recurrent is not None:
            if len(node.out_shape) != 1:
                raise NeurofaError(
                    f"got recurrent weights over {node.out_shape} at '{node.name}' for NIR; expected a vector of"
                    " neurons;"
                    " export to ONNX"
                )
            nodes[f"{node.name}_rec"] = nir.Linear(weight=_numpy(node.recurrent))
            edges += [(out, f"{node.name}_rec"), (f"{node.name}_rec", out)]
        return out
    plain = isinstance(node, DenseNode | ConvNode) and node.activation == "identity" and node.norm is None
    if plain:
        assert isinstance(node, DenseNode | ConvNode)  # noqa: S101 (narrows the type)
        nodes[node.name] = _current(nir, node)
    elif isinstance(node, FlattenNode):
        # shapes in NIR have no batch: the first axis of a sample is 0
        nodes[node.name] = nir.Flatten({"input": np.array(node.in_shape)}, start_dim=0, end_dim=-1)
    elif isinstance(node, PoolNode) and node.how == "mean":
        size, stride = np.array([node.size] * 2), np.array([node.stride] * 2)
        nodes[node.name] = nir.AvgPool2d(kernel_size=size, stride=stride, padding=np.array([0, 0]))
    else:
        what = f"{node.kind} with {getattr(node, 'activation', getattr(node, 'how', ''))}"
        raise NeurofaError(
            f"got a {what} at '{node.name}' for NIR; expected spiking layers, plain affine maps, pooling by means and"
            " flattening; export to ONNX"
        )
    edges.append((last, node.name))
    return node.name


def _current(nir: Any, node: DenseNode | ConvNode) -> Any:
    if isinstance(node, DenseNode):
        if node.bias is None:
            return nir.Linear(weight=_numpy(node.weight))
        return nir.Affine(weight=_numpy(node.weight), bias=_numpy(node.bias))
    bias = np.zeros(node.weight.shape[0], dtype=np.float32) if node.bias is None else _numpy(node.bias)
    return nir.Conv2d(
        input_shape=node.in_shape[1:], weight=_numpy(node.weight), stride=node.stride, padding=node.padding, dilation=1,
        groups=node.groups, bias=bias,
    )  # fmt: skip


def _neuron(nir: Any, node: SpikingNode, dt: float | None) -> Any:
    n = node.neuron
    seconds = n.dt if dt is None else dt
    tau = _tau(node, n.beta, seconds)
    zero = np.zeros(node.out_shape)
    about = {
        "neurofa": {
            "dt": seconds,
            "reset": n.reset if n.spikes else "none",
            "reset_delay": str(n.delay),
            "model": n.model,
        }
    }
    if n.model == "leaky":
        return nir.LI(tau=tau, r=tau / seconds, v_leak=zero, metadata=about)
    theta = _numpy(_array(n, "threshold")).astype(np.float64)
    if n.model == "synaptic":
        syn = _tau(node, _array(n, "alpha"), seconds)
        return nir.CubaLIF(
            tau_syn=syn, tau_mem=tau, r=tau / seconds, v_leak=zero, v_threshold=theta, v_reset=zero.copy(),
            w_in=syn / seconds, metadata=about,
        )  # fmt: skip
    return nir.LIF(tau=tau, r=tau / seconds, v_leak=zero, v_threshold=theta, v_reset=zero.copy(), metadata=about)


def _array(n: NeuronDynamics, key: str) -> Array:
    found = getattr(n, key)
    assert isinstance(found, Array)  # noqa: S101 (checked when the neuron was built)
    return found


def _tau(node: SpikingNode, decay: Array, seconds: float) -> np.ndarray[Any, Any]:
    """Time constants in double precision, so that readers find the decay again to the last bit of a float32."""
    beta = _numpy(decay).astype(np.float64)
    if bool((beta >= 1).any()):
        raise NeurofaError(
            f"got a decay of 1 at '{node.name}' for NIR; expected below 1: its time constant would be infinite; train"
            " with a"
            " leak, or export to ONNX"
        )
    return seconds / (1 - beta)
