"""NIR graphs written from the neutral graph: arrays instead of scalars, explicit reset and dt, no silent change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from exports.files.disk import SpillingFile
from exports.files.optional import require_library
from exports.files.seal import FRONT, seal
from exports.graph.arrays import Array
from exports.graph.model import Model
from exports.graph.neurons import SpikingNode
from exports.graph.nodes import ConvNode, DenseNode, FlattenNode, PoolNode
from exports.graph.pathways import DirectPath
from exports.nir.digest import add_digest
from exports.nir.reset import ResetMismatch, measure_mismatch, resets_to_zero, with_zero_reset
from hwmodels.errors import NeurofaError
from hwmodels.files import atomic_path


def network_to_nir(
    model: Model, *, convert: bool = False, dt: float | None = None, inputs: Tensor | None = None
) -> tuple[Any, list[ResetMismatch]]:
    """Convert the network to a NIR graph.

    A decay beta in one tick of dt seconds is the time constant tau = dt / (1 - beta); with R = tau / dt the membrane is
    v <- beta v + I. Norse takes no R from a graph: there, divide the thresholds by tau / dt, or multiply the weights.

    Args:
        model: neutral graph of spiking layers, plain affine maps, pooling by means and flattening.
        convert: let neurons whose reset NIR cannot express reset to zero, and measure the change.
        dt: length of a tick for the time constants, s; None: that of the neurons. snnTorch reads all graphs with 1e-4.
        inputs: (T, B, *input_shape) spikes to measure with; None: random ones.

    Returns:
        The graph, and the changes of spikes.

    Raises:
        NeurofaError: a neuron, reset or layer that NIR cannot express; it is named, with a remedy.
    """
    nir, changes = require_library("nir"), list[ResetMismatch]()
    spiking = [node for node in model.nodes if isinstance(node, SpikingNode)]
    for node in spiking:
        node.require_raw_membrane()
        if node.neuron.model == "alif":
            raise NeurofaError(
                f"got adaptive thresholds at '{node.name}' for NIR; expected lif, synaptic or leaky neurons, it has no"
                " node for them; export to ONNX or HDF5"
            )
    other = [node for node in spiking if not resets_to_zero(node.neuron)]
    if other and not convert:
        first = other[0].neuron
        raise NeurofaError(
            f"got reset '{first.reset}'{' that drops the next drive' if first.skips else ''} at '{other[0].name}' for"
            " NIR; expected reset to zero, the only one that NIR can say; convert with a measured change of the spikes"
            " (--convert-reset), train with reset=zero, or export to ONNX or HDF5"
        )
    if other:
        converted = with_zero_reset(model)
        changes, model = measure_mismatch(model, converted, inputs), converted
    chain = _Chain(nir, model.input_shape)
    for layer in model.nodes:
        match layer:
            case SpikingNode():
                _append_spiking(chain, layer, layer.neuron.dt if dt is None else dt)
            case FlattenNode():
                # shapes in NIR have no batch: the first axis of a sample is 0
                chain.append(layer.name, nir.Flatten({"input": np.array(layer.in_shape)}, start_dim=0, end_dim=-1))
            case PoolNode(how="mean"):
                chain.append(layer.name, _pool(nir, layer))
            case DenseNode(purely_affine=True) | ConvNode(purely_affine=True):
                chain.append(layer.name, _affine(nir, layer))
            case _:
                raise NeurofaError(
                    f"got a {layer.label} at '{layer.name}' for NIR; expected spiking layers, plain affine maps,"
                    " pooling by means and flattening; export to ONNX"
                )
    chain.append("output", nir.Output(np.array(model.nodes[-1].out_shape)))
    reset = {m.layer: {"share": m.share, "spikes_before": m.spikes[0], "spikes_after": m.spikes[1]} for m in changes}
    metadata = {"format_version": "1.0", "part": "forward", "reset_converted": str(reset or "no")}
    return nir.NIRGraph(chain.nodes, chain.edges, metadata={"neurofa": metadata}), changes


def feedback_to_nir(model: Model) -> Any:
    """Convert the feedback to a NIR graph of its own: ``error`` to ``teaching_LAYER`` through Linear ``fb_LAYER``.

    Raises:
        NeurofaError: a pathway that is no matrix.
    """
    nir, path = require_library("nir"), model.feedback
    if not isinstance(path, DirectPath) or path.matrix is None:
        raise NeurofaError("got a feedback without a matrix for NIR; expected a direct one; export to ONNX or HDF5")
    nodes: dict[str, Any] = {"error": nir.Input(np.array((model.outputs,)))}
    edges = []
    for part in path.slices:
        rows = path.matrix.values[part.rows[0] : part.rows[1]]
        rows = rows if part.factor == 1 else rows * part.factor
        layer = {"layer": part.layer, "shape": np.array(part.shape), "spread": part.spread}
        nodes[f"fb_{part.layer}"] = nir.Linear(weight=_numpy(rows), metadata={"neurofa": layer})
        nodes[f"teaching_{part.layer}"] = nir.Output(np.array((len(rows),)))
        edges += [("error", f"fb_{part.layer}"), (f"fb_{part.layer}", f"teaching_{part.layer}")]
    encoding = "raw" if model.error is None else model.error.format
    metadata = {"format_version": "1.0", "part": "feedback", "error_encoding": encoding}
    return nir.NIRGraph(nodes, edges, metadata={"neurofa": metadata})


def write_nir(graph: Any, path: Path) -> None:
    """Write a graph with its digest, whole or not at all.

    Raises:
        NeurofaError: the place cannot be written.
    """
    with atomic_path(path) as part, SpillingFile(part, front=FRONT) as disk:
        require_library("nir").write(disk, graph)
        add_digest(disk)
        disk.require_whole()
        seal(part)


class _Chain:
    """Nodes in a row, with the edges between them."""

    def __init__(self, nir: Any, input_shape: tuple[int, ...]) -> None:
        self.nir, self.last = nir, "input"
        self.nodes: dict[str, Any] = {"input": nir.Input(np.array(input_shape))}
        self.edges: list[tuple[str, str]] = []

    def append(self, name: str, node: Any) -> None:
        """Add a node behind the last one."""
        self.nodes[name] = node
        self.edges.append((self.last, name))
        self.last = name


def _append_spiking(chain: _Chain, node: SpikingNode, dt: float) -> None:
    """Add affine map, pooling, neurons and the loop of recurrent weights."""
    nir, name = chain.nir, node.name
    chain.append(f"{name}_w", _affine(nir, node.current))
    if node.pool is not None:
        chain.append(node.pool.name, _pool(nir, node.pool))
    chain.append(name, _neuron(nir, node, dt))
    if node.recurrent is not None:
        if len(node.out_shape) != 1:
            raise NeurofaError(
                f"got recurrent weights over {node.out_shape} at '{name}' for NIR; expected a vector of neurons; export"
                " to ONNX"
            )
        chain.nodes[f"{name}_rec"] = nir.Linear(weight=_numpy(node.recurrent.values))
        chain.edges += [(name, f"{name}_rec"), (f"{name}_rec", name)]


def _pool(nir: Any, node: PoolNode) -> Any:
    if node.how != "mean":
        raise NeurofaError(f"got a {node.label} at '{node.name}' for NIR; expected pooling by means; export to ONNX")
    size, stride = np.array([node.size] * 2), np.array([node.stride] * 2)
    return nir.AvgPool2d(kernel_size=size, stride=stride, padding=np.array([0, 0]))


def _affine(nir: Any, node: DenseNode | ConvNode) -> Any:
    weight = _numpy(node.weight.values)
    bias = None if node.bias is None else _numpy(node.bias.values)
    if isinstance(node, ConvNode):
        bias = np.zeros(len(weight), dtype=np.float32) if bias is None else bias
        geometry = {"stride": node.stride, "padding": node.padding, "dilation": 1, "groups": node.groups}
        return nir.Conv2d(input_shape=node.in_shape[1:], weight=weight, bias=bias, **geometry)
    return nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)


def _neuron(nir: Any, node: SpikingNode, dt: float) -> Any:
    n = node.neuron
    arrays, zero = n.arrays(), np.zeros(node.out_shape)
    if n.model in ("lif", "leaky") and bool((n.beta.values == 1).all()):
        return _integrator(nir, node, dt)
    about = {"dt": dt, "reset": n.reset if n.spikes else "none", "reset_delay": str(n.delay), "model": n.model}
    tau = _time_constant(node, n.beta, dt)
    membrane = {"r": tau / dt, "v_leak": zero, "metadata": {"neurofa": about}}
    if n.model == "leaky":
        return nir.LI(tau=tau, **membrane)
    fires = {"v_threshold": _numpy(arrays["threshold"].values).astype(np.float64), "v_reset": zero.copy()}
    if n.model == "synaptic":
        tau_syn = _time_constant(node, arrays["alpha"], dt)
        return nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau, w_in=tau_syn / dt, **membrane, **fires)
    return nir.LIF(tau=tau, **membrane, **fires)


def _integrator(nir: Any, node: SpikingNode, dt: float) -> Any:
    """Return neurons without a leak, which have no time constant: v <- v + dt R I, with R = 1 / dt."""
    n = node.neuron
    about = {"dt": dt, "reset": n.reset if n.spikes else "none", "reset_delay": str(n.delay), "model": n.model}
    own = {"r": np.full(node.out_shape, 1 / dt), "metadata": {"neurofa": about}}
    if not n.spikes:
        return nir.I(**own)
    threshold = _numpy(n.arrays()["threshold"].values).astype(np.float64)
    return nir.IF(v_threshold=threshold, v_reset=np.zeros(node.out_shape), **own)


def _time_constant(node: SpikingNode, decay: Array, dt: float) -> np.ndarray[Any, Any]:
    """Return dt / (1 - decay), s, in double precision: readers get the decay back to the last bit of a float32."""
    beta = _numpy(decay.values).astype(np.float64)
    if bool((beta >= 1).any()):
        raise NeurofaError(
            f"got a decay of 1 at '{node.name}' for NIR; expected below 1, or 1 of all of its lif or leaky neurons: its"
            " time constant would be infinite; train with a leak, or export to ONNX"
        )
    return dt / (1 - beta)


def _numpy(values: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = values.detach().cpu().contiguous().numpy()
    return array
