"""Layers and networks as nodes of the neutral graph: one adapter a class.

The adapters stand here, and not as methods in ``neurofa``, because nodes, units and addresses are the vocabulary of
files: the training packages lie below and need not know it. ``functools.singledispatch`` keeps what a method would
give: a class is described once, subclasses inherit, and a third party registers an adapter for a class of its own::

    @describe.register
    def _(layer: MyLayer, at: At) -> Node: ...
"""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from exports.describe.modules import Trace, trace
from exports.describe.neurons import TICK, describe_neuron
from exports.graph import nodes as graph
from exports.graph.arrays import Array, Matrix, Role
from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import device_chain
from hwmodels.devices.fixed import Fixed
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.synapses import Synapses
from neurofa.layers.block import Block
from neurofa.layers.carriers import AvgPool2d, Dropout, Flatten, GlobalAvgPool2d, MaxPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d
from neurofa.maps.affine import Affine
from neurofa.maps.norms import BatchNorm
from neurofa.spiking.temporal import Temporal


@dataclass(frozen=True)
class At:
    """Where a layer stands."""

    name: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    states: dict[int, str]
    """Key in a state dict, with ``network:`` before it, by the identity of a parameter or buffer."""
    tick: float = TICK
    """Length of a tick, s, for layers with a memory."""


def states(module: nn.Module, prefix: str) -> dict[int, str]:
    """Keys of a module's state dict by the identity of the tensor; see :class:`At`."""
    found = {id(p): f"{prefix}:{key}" for key, p in module.named_parameters()}
    return found | {id(b): f"{prefix}:{key}" for key, b in module.named_buffers()}


def nodes(network: Network, tick: float = TICK) -> tuple[graph.Node, ...]:
    """All layers as nodes, from input to readout; nothing is copied but the structure of blocks.

    Args:
        network: of layers that have adapters.
        tick: length of a tick, s, for layers with a memory.
    """
    known, shape, found = states(network, "network"), network.input_shape, []
    for name, layer in network.items():
        found.append(describe(layer, At(name, shape, network.shapes[name], known, tick)))
        shape = network.shapes[name]
    return tuple(found)


@functools.singledispatch
def describe(layer: Layer, at: At) -> graph.Node:
    """The node of one layer.

    Args:
        layer: decides by its class which adapter is called.
        at: its name, shapes and the keys of its state.

    Raises:
        NeurofaError: no adapter is registered for its class.
    """
    raise NeurofaError(
        f"got layer '{at.name}', a {type(layer).__name__}, for export; expected a layer with an adapter; register one"
        " with exports.describe.layers.describe.register, or wrap the module in a Block"
    )


def spec_of(device: Device) -> str:
    """The spec that builds this device again; devices inside are written as specs too."""
    options = {
        key: spec_of(value) if isinstance(value, Device) else value for key, value in vars(device).items()
        if key in getattr(type(device), "__dataclass_fields__", {})
    }  # fmt: skip
    return str(Spec(device.name, options))


def conductances(device: Device) -> tuple[float, float] | None:
    """Smallest and largest conductance of the innermost device, S; None where it is not made of conductances."""
    held = device_chain(device)[-1]
    low, high = getattr(held, "g_min", None), getattr(held, "g_max", None)
    return None if low is None or high is None else (low * 1e-6, high * 1e-6)


def faults(cells: Cells) -> Tensor | None:
    """True where an element is stuck, as the cells of ``stuck`` say; None where nothing says so."""
    sides = [cell.isfinite() for key, cell in cells.items() if key.split("_")[-1] in ("most", "least")]
    return functools.reduce(torch.logical_or, sides) if sides else None


def grid(device: Device, cells: Cells) -> tuple[int, float] | None:
    """Bits and step of a device that is words and nothing around them; see :class:`exports.graph.arrays.Matrix`."""
    return (device.bits, float(cells["scale"])) if isinstance(device, Fixed) else None


def matrix(synapses: Synapses, known: dict[int, str], meaning: str, axes: str, role: Role) -> Matrix:
    """Stored weights with the device that stores them."""
    return Matrix(
        values=synapses.weight.detach(), meaning=meaning, axes=axes, role=role,
        state=known.get(id(synapses.weight), ""), device=spec_of(synapses.device),
        conductance=conductances(synapses.device), faults=faults(synapses.cells),
        grid=grid(synapses.device, synapses.cells),
    )  # fmt: skip


def vector(synapses: Synapses, known: dict[int, str], meaning: str) -> Array:
    """Stored digital numbers, one an output."""
    return Array(
        values=synapses.weight.detach(), meaning=meaning, axes="(n_out,)", state=known.get(id(synapses.weight), "")
    )


def _affine(layer: Affine, at: At, axes: str) -> dict[str, object]:
    norm = None
    if layer.norm is not None:
        kept: dict[str, Array] = {}
        if layer.norm.affine:
            kept["gain"] = vector(layer.synapse("gain"), at.states, "gain of the normalisation")
            kept["shift"] = vector(layer.synapse("shift"), at.states, "shift of the normalisation")
        if isinstance(layer.norm, BatchNorm):
            for key, buffer in (("mean", layer.norm.running_mean), ("variance", layer.norm.running_var)):
                meaning = f"running {key} of the normalisation"
                kept[key] = Array(values=buffer, meaning=meaning, axes="(n_out,)", state=at.states[id(buffer)])
        kind = layer.norm.name
        if kind not in ("batch", "layer"):
            raise NeurofaError(f"got norm '{kind}' at layer '{at.name}' for export; expected batch or layer; use one")
        momentum = layer.norm.momentum if isinstance(layer.norm, BatchNorm) else 0.0
        word = "batch" if kind == "batch" else "layer"
        norm = graph.Norm(kind=word, eps=layer.norm.eps, momentum=momentum, **kept)  # type: ignore[arg-type]
    bias = vector(layer.synapse("bias"), at.states, "bias, added to the product") if layer.bias else None
    weight = matrix(layer.synapse("weight"), at.states, "forward weights W of y = W x + b", axes, "forward")
    return {
        "name": at.name, "in_shape": at.in_shape, "out_shape": at.out_shape, "weight": weight, "bias": bias,
        "norm": norm, "activation": layer.activation.name, "dropout": layer.dropout,
    }  # fmt: skip


@describe.register
def _(layer: Dense, at: At) -> graph.Node:
    return graph.Dense(**_affine(layer, at, "(n_out, n_in)"))  # type: ignore[arg-type]


@describe.register
def _(layer: Conv2d, at: At) -> graph.Node:
    shared = _affine(layer, at, "(C_out, C_in / groups, k, k)")
    geometry = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    return graph.Conv2d(**shared, **geometry)  # type: ignore[arg-type]


def _spiking(layer: Temporal, at: At, current: graph.Dense | graph.Conv2d, pool: graph.Pool | None) -> graph.Node:
    among = None
    if layer.recurrent:
        meaning = "recurrent weights V, from the spikes of the tick before to the currents"
        among = matrix(layer.synapse("recurrent"), at.states, meaning, "(n_out, n_out)", "forward")
    return graph.Spiking(
        name=at.name, in_shape=at.in_shape, out_shape=at.out_shape, current=current, recurrent=among, pool=pool,
        neuron=describe_neuron(layer.neuron, at.name, current.weight.values.new_ones(at.out_shape), at.tick),
    )  # fmt: skip


@describe.register
def _(layer: Spiking, at: At) -> graph.Node:
    return _spiking(layer, at, graph.Dense(**_affine(layer, at, "(n_out, n_in)")), None)  # type: ignore[arg-type]


@describe.register
def _(layer: SpikingConv2d, at: At) -> graph.Node:
    shape = layer.out_shape(torch.Size((1, *at.in_shape)))[1:]
    inner = replace(at, out_shape=shape)
    shared = _affine(layer, inner, "(C_out, C_in / groups, k, k)")
    geometry = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    current = graph.Conv2d(**shared, **geometry)  # type: ignore[arg-type]
    pool = None
    if layer.pool is not None:
        place = At(f"{at.name}_pool", shape, at.out_shape, at.states, at.tick)
        described = describe(layer.pool, place)
        assert isinstance(described, graph.Pool)  # noqa: S101 (the layer takes no other)
        pool = described
    return _spiking(layer, at, current, pool)


def _pool(at: At, how: str, size: int = 0, stride: int = 0) -> graph.Node:
    return graph.Pool(
        name=at.name, in_shape=at.in_shape, out_shape=at.out_shape, how=how, size=size, stride=stride  # type: ignore[arg-type]
    )  # fmt: skip


@describe.register
def _(layer: MaxPool2d, at: At) -> graph.Node:
    return _pool(at, "max", layer.size, layer.stride)


@describe.register
def _(layer: AvgPool2d, at: At) -> graph.Node:
    return _pool(at, "mean", layer.size, layer.stride)


@describe.register
def _(layer: GlobalAvgPool2d, at: At) -> graph.Node:  # noqa: ARG001
    return _pool(at, "global")


@describe.register
def _(layer: Flatten, at: At) -> graph.Node:  # noqa: ARG001
    return graph.Flatten(name=at.name, in_shape=at.in_shape, out_shape=at.out_shape)


@describe.register
def _(layer: Dropout, at: At) -> graph.Node:
    return graph.Identity(name=at.name, in_shape=at.in_shape, out_shape=at.out_shape, p=layer.p)


@describe.register
def _(layer: Block, at: At) -> graph.Node:
    plain = layer.module()
    like = next(iter(layer.stored().values()), torch.zeros(()))
    try:
        found, reason = trace(plain, at.in_shape, like), ""
    except NeurofaError as error:  # its weights can be stored all the same
        found, reason = Trace((), {}, {}, ""), str(error)
    parameters: dict[str, Array] = {}
    for key, value in layer.stored().items():
        meaning = f"'{key}' of a {type(layer.skeleton).__name__}"
        if key in layer.returning and value.ndim > 1:
            parameters[key] = matrix(layer.synapse(key), at.states, f"weights {meaning}", "(n_out, ...)", "forward")
        else:
            state = at.states[id(layer.synapse(key).weight)]
            parameters[key] = Array(values=value, meaning=f"parameter {meaning}", state=state)
    for key, buffer in plain.named_buffers():
        parameters[key] = Array(values=buffer, meaning=f"buffer '{key}'", state=_buffer_state(layer, at, key))
    for key, constant in found.constants.items():
        parameters[key] = Array(values=constant, meaning=f"constant of a {type(layer.skeleton).__name__}")
    return graph.Traced(
        name=at.name, in_shape=at.in_shape, out_shape=at.out_shape, parameters=parameters,
        placeholders=found.placeholders | {key: key for key in found.constants}, ops=found.ops, result=found.result,
        reason=reason,
    )  # fmt: skip


def _buffer_state(layer: Block, at: At, key: str) -> str:
    own = dict(layer.named_buffers())
    return at.states[id(own["buffer_" + key.replace(".", "/")])]


def converters(network: Network) -> dict[str, object]:
    """Constants of the converters around the arrays of forward weights; empty for exact products."""
    for name in network.names:
        layer = network.layer(name)
        if isinstance(layer, Affine) and layer.arrays is not None:
            constants = asdict(layer.arrays.forward_io)
            return {key: _finite(value) for key, value in constants.items()}
    return {}


def _finite(value: object) -> object:
    return "infinite" if isinstance(value, float) and math.isinf(value) else value
