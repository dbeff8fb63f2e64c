"""Networks made of NIR graphs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError, did_you_mean
from neurofa.core.network import Network
from neurofa.core.programming import ClippedWeights, warn_of_clipping
from neurofa.core.randomness import generator
from neurofa.interop.nir.chain import chain_of
from neurofa.interop.nir.layers import GraphLayer, Settings, parts_of
from neurofa.interop.nir.neurons import Method, needs_tick
from neurofa.interop.nir.read import FlatGraph, kind_of, read_graph
from neurofa.layers.block import Block
from neurofa.layers.carriers import Flatten


def from_nir(
    source: Path | str | Any,
    *,
    dt: float | None = None,
    method: str = "euler",
    surrogate: str = "atan",
    input_shape: Sequence[int] | None = None,
    device: Device | str = "digital",
    periphery: Periphery | str = "exact",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Network:
    """Return the network of a NIR graph: its weights, and neurons that reset at once in ticks of dt seconds.

    Affine maps and convolutions become one layer with the neurons behind them. Graphs in graphs are opened. Loops of
    one linear node are recurrent weights, which receive the spikes of the tick before. Neurons without weights before
    them have an identity that does not learn. Branches without neurons are one block. Nodes that this package has no
    neurons for (delays, branches of neurons) are refused by name. The equations are in
    :mod:`neurofa.interop.nir.neurons`.

    Args:
        source: path of a file, or a graph of the library ``nir``.
        dt: length of a tick, s; None: the one that the file states, as files of this package do.
        method: ``euler``: v <- v + dt / tau (v_leak - v + R I), as snnTorch and Norse compute and write files;
            ``exact``: the solution of the equation for an input that is constant in the tick.
        surrogate: surrogate derivative of a spike, of which NIR says nothing.
        input_shape: shape of one sample in a tick, where it is another than that of the graph with as many numbers.
        device: device that stores the affine weights, or its spec.
        periphery: converters and noise around the arrays of affine weights, or their spec.
        seed: of the noise with which a device is programmed.
        dtype: of the weights.

    Raises:
        NeurofaError: a file that cannot be read, a node that has no counterpart (it is named), or no length of a tick.
    """
    graph = read_graph(source)
    settings = Settings(_tick(graph, dt), _method(method), surrogate)
    parts = parts_of(chain_of(graph), settings)
    if not parts:
        raise NeurofaError("got a graph of input and output alone; expected nodes between them; check the file")
    own = tuple(int(n) for n in graph.nodes[graph.input].input_type["input"])
    shape = own if input_shape is None else tuple(input_shape)
    if shape != own:
        parts.insert(0, _reshaped(shape, own))
    layers = [part.layer for part in parts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippedWeights)  # of the drawn weights; said once below
        network = Network(layers, shape, seed=seed, device=device, periphery=periphery).to(dtype)
    _take_weights(network, parts, seed)
    return network


def _reshaped(shape: tuple[int, ...], own: tuple[int, ...]) -> GraphLayer:
    """Return the layer that brings samples into the shape of a graph's input."""
    if math.prod(shape) != math.prod(own):
        raise NeurofaError(
            f"got samples of shape {shape} for a graph whose input is {own}; expected as many numbers; use the data for"
            " which the graph was made"
        )
    return GraphLayer(Flatten() if len(own) == 1 else Block(nn.Sequential(nn.Flatten(), nn.Unflatten(1, own))), ())


def _tick(graph: FlatGraph, dt: float | None) -> float:
    """Return the length of a tick, s; any where nothing depends on it."""
    if dt is not None:
        if not (dt > 0 and math.isfinite(dt)):
            raise NeurofaError(f"got dt={dt} s; expected a positive number of seconds; 1e-4 is that of snnTorch")
        return dt
    timed = [name for name, node in graph.nodes.items() if needs_tick(kind_of(node))]
    if graph.dt is None and timed:
        raise NeurofaError(
            f"got no dt for {kind_of(graph.nodes[timed[0]])} '{timed[0]}', whose constants are in seconds; expected the"
            " length of a tick, which the file does not state; give dt (snnTorch writes files with 1e-4 s)"
        )
    return 1.0 if graph.dt is None else _tick(graph, graph.dt)


def _method(method: str) -> Method:
    known = get_args(Method)
    for each in known:
        if method == each:
            found: Method = each
            return found
    raise NeurofaError(f"got method='{method}'; expected {' or '.join(known)}{did_you_mean(method, known)}; choose one")


@torch.no_grad()
def _take_weights(network: Network, parts: list[GraphLayer], seed: int) -> None:
    """Program the weights of the graph; identities do not learn, but for a readout, which has no other weights."""
    gen, shares = generator(seed, "pretrained"), {}
    for (name, layer), part in zip(network.items(), parts, strict=True):
        for key, value in part.weights.items():
            # new synapses, not new values: the range of a device follows the weights that it is first programmed with
            layer.synapses.add(key, value.to(network.dtype), layer.synapses[key].device, gen)
            shares[f"'{key}' of layer '{name}'"] = layer.synapses[key].clipped
            if part.identity and name != network.readout:
                layer.synapses[key].weight.requires_grad_(False)
    network.first = (network.layer(network.lowest).synapses.values()[0],)
    warn_of_clipping(shares, network.device_spec)
