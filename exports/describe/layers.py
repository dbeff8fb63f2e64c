"""Layers and networks as nodes of the neutral graph.

Layers describe themselves in the plain data of :mod:`neurofa.core.description`; this module turns each kind of
description into a node, with the units, meanings and addresses of files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from exports.describe.modules import Trace, example_of, trace
from exports.describe.neurons import TICK, neuron_dynamics
from exports.describe.stored import StateKeys, matrix_of, state_keys, vector_of
from exports.graph.arrays import Array
from exports.graph.neurons import SpikingNode
from exports.graph.nodes import (
    ACTIVATIONS,
    ConvNode,
    DenseNode,
    FlattenNode,
    IdentityNode,
    Node,
    NormParameters,
    PoolNode,
)
from exports.graph.operations import TracedNode
from hwmodels.errors import NeurofaError
from neurofa.core.description import (
    AffineDescription,
    ConvDescription,
    FlattenDescription,
    IdentityDescription,
    LayerDescription,
    ModuleDescription,
    PoolDescription,
    SpikingDescription,
)
from neurofa.core.layer import Layer, facts_of
from neurofa.core.network import Network


@dataclass(frozen=True)
class Place:
    """Name, shapes and state keys of a layer in its network."""

    name: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    keys: StateKeys
    tick: float = TICK
    """Length of a tick, s, for layers with a memory."""

    @property
    def ends(self) -> dict[str, Any]:
        """Fields that every node has: name and shapes."""
        return {"name": self.name, "in_shape": self.in_shape, "out_shape": self.out_shape}


def network_nodes(network: Network, tick: float = TICK) -> tuple[Node, ...]:
    """Return all layers as nodes, from input to readout; nodes share the network's arrays, except weights in blocks.

    Args:
        network: the network.
        tick: length of a tick, s, for layers with a memory.
    """
    if network.vocabulary is not None:
        raise NeurofaError(
            f"got '{network.spec or 'a network'}', whose input are ids of tokens, for export; expected numbers;"
            " keep it as the run's model.safetensors"
        )
    keys, shape, nodes = state_keys(network, "network"), network.input_shape, []
    for name, layer in network.items():
        nodes.append(layer_node(layer, Place(name, shape, network.shapes[name], keys, tick)))
        shape = network.shapes[name]
    return tuple(nodes)


def layer_node(layer: Layer, place: Place) -> Node:
    """Return the node of the neutral graph that describes a layer.

    Args:
        layer: the layer.
        place: its name, shapes and state keys in the network.
    """
    about = facts_of(layer).describe(place.in_shape)
    if isinstance(about, AffineDescription) and about.activation not in ACTIVATIONS:
        about = facts_of(layer).as_module()  # an activation without a name in files is listed as operations
    return _node(about, place)


def _node(about: LayerDescription, place: Place) -> Node:
    match about:
        case AffineDescription():
            return _affine(about, place)
        case PoolDescription():
            return PoolNode(**place.ends, how=about.how, size=about.size, stride=about.stride)
        case FlattenDescription():
            return FlattenNode(**place.ends)
        case IdentityDescription():
            return IdentityNode(**place.ends, p=about.dropout)
        case SpikingDescription():
            return _spiking(about, place)
        case ModuleDescription():
            return _traced(about, place)


def _affine(about: AffineDescription, place: Place) -> DenseNode | ConvNode:
    shared: dict[str, Any] = {
        **place.ends,
        "weight": matrix_of(about.weight, place.keys, "forward weights W of y = W x + b", about.axes, "forward"),
        "bias": None if about.bias is None else vector_of(about.bias, place.keys, "bias, added to the product"),
        "norm": _norm(about, place.keys),
        "activation": about.activation,
        "dropout": about.dropout,
    }
    if isinstance(about, ConvDescription):
        return ConvNode(**shared, stride=about.stride, padding=about.padding, groups=about.groups)
    return DenseNode(**shared)


def _norm(about: AffineDescription, keys: StateKeys) -> NormParameters | None:
    if about.norm is None:
        return None
    arrays = {
        key: vector_of(synapses, keys, f"{key} of the normalisation")
        for key, synapses in (("gain", about.gain), ("shift", about.shift))
        if synapses is not None
    }
    for key, buffer in about.norm.statistics.items():
        meaning = f"running {key} of the normalisation"
        arrays[key] = Array(values=buffer, meaning=meaning, axes="(n_out,)", state=keys[id(buffer)])
    return NormParameters(kind=about.norm.kind, eps=about.norm.eps, momentum=about.norm.momentum, **arrays)


def _spiking(about: SpikingDescription, place: Place) -> SpikingNode:
    current = _affine(about.current, replace(place, out_shape=about.current_shape))
    recurrent = pool = None
    if about.recurrent is not None:
        meaning = "recurrent weights V, from the spikes of the tick before to the currents"
        recurrent = matrix_of(about.recurrent, place.keys, meaning, "(n_out, n_out)", "forward")
    if about.pool is not None:
        inner = replace(place, name=f"{place.name}_pool", in_shape=about.current_shape)
        pool = PoolNode(**inner.ends, how=about.pool.how, size=about.pool.size, stride=about.pool.stride)
    ones = current.weight.values.new_ones(place.out_shape)
    neuron = neuron_dynamics(about.neuron, ones, place.tick)
    return SpikingNode(**place.ends, current=current, recurrent=recurrent, pool=pool, neuron=neuron)


def _traced(about: ModuleDescription, place: Place) -> TracedNode:
    like = next((synapses.weight for synapses in about.synapses.values()), torch.zeros(()))
    listed, reason, example = Trace((), {}, {}, ""), about.reason, None
    if about.module is not None:
        try:
            listed = trace(about.module, place.in_shape, like)
            example = example_of(about.module, place.in_shape, like)
        except NeurofaError as error:  # the weights can be stored all the same
            reason = str(error)
    arrays: dict[str, Array] = {}
    for key, synapses in about.synapses.items():
        meaning = f"'{key}' of a {about.source}"
        if key in about.matrices:
            arrays[key] = matrix_of(synapses, place.keys, f"weights {meaning}", "(n_out, ...)", "forward")
        else:
            arrays[key] = vector_of(synapses, place.keys, f"parameter {meaning}", axes="")
    for key, buffer in about.buffers.items():
        arrays[key] = Array(values=buffer, meaning=f"buffer '{key}'", state=place.keys[id(buffer)])
    for key, constant in listed.constants.items():
        arrays[key] = Array(values=constant, meaning=f"constant of a {about.source}")
    names = listed.placeholders | {key: key for key in listed.constants}
    return TracedNode(
        **place.ends,
        parameters=arrays,
        placeholders=names,
        ops=listed.ops,
        result=listed.result,
        reason=reason,
        example=example,
    )


def converter_constants(network: Network) -> dict[str, object]:
    """Return the options of the converters around products with forward weights, by name; empty for exact products."""
    for name in network.names:
        host = network.layer(name).traits.array_host
        if host is not None and host.periphery is not None:
            return {key: _finite(value) for key, value in host.periphery.chosen().items()}
    return {}


def _finite(value: object) -> object:
    return "infinite" if isinstance(value, float) and math.isinf(value) else value
