"""Layers for the nodes of a NIR graph: weights and the neurons that they drive become one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.interop.nir.affine import Map, identity_map, map_of, pool_of
from neurofa.interop.nir.chain import NEURONS, Branches, Link
from neurofa.interop.nir.modules import module_of, summed_module, tensor
from neurofa.interop.nir.neurons import Method, Stage, stages_of
from neurofa.interop.nir.parameters import Values, by_channel, values_of
from neurofa.interop.nir.read import kind_of
from neurofa.layers.block import Block
from neurofa.layers.carriers import AvgPool2d, Flatten
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d
from neurofa.spiking.neuron import Neuron


@dataclass(frozen=True)
class GraphLayer:
    """One layer with the weights that it takes from the graph."""

    layer: Layer
    names: tuple[str, ...]
    """Nodes that it stands for."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """By the layer's own names, in double precision."""
    identity: bool = False
    """Whether its weights are no weights of the graph, so that they do not learn."""


@dataclass(frozen=True)
class Settings:
    """How neurons are made; see :func:`neurofa.interop.nir.from_nir`."""

    dt: float
    method: Method
    surrogate: str


def parts_of(chain: Sequence[Link | Branches], settings: Settings) -> list[GraphLayer]:
    """Return the layers of a chain of nodes.

    Raises:
        NeurofaError: a node that no layer here can be; it is named.
    """
    builder = _Builder(settings)
    for index, item in enumerate(chain):
        builder.add(item, chain[index + 1 :])
    builder.flush()
    return builder.parts


@dataclass
class _Builder:
    """Layers so far, and a map that waits for its neurons."""

    settings: Settings
    parts: list[GraphLayer] = field(default_factory=list)
    pending: Map | None = None
    names: tuple[str, ...] = ()
    """Nodes of the pending map."""
    owed: float = 1.0
    """Factor that the weights of the next map have to take over from a pooling."""

    def add(self, item: Link | Branches, behind: Sequence[Link | Branches]) -> None:
        if isinstance(item, Branches):
            for link in item.links:
                self._require_undelayed(link)
            self._block(item.name, summed_module(item))
            return
        kind = kind_of(item.node)
        if kind == "Delay":
            self._require_undelayed(item)
        elif kind in NEURONS:
            self._neurons(item)
        elif (own := map_of(item)) is not None:
            self.flush()
            self.pending, self.names = replace(own, weight=own.weight * self.owed), (item.name,)
            self.owed = 1.0
        elif kind == "Scale":
            self._scale(item)
        elif (pool := pool_of(item)) is not None:
            self._pool(item, pool, behind)
        elif kind == "Flatten" and len(item.out_shape) == 1:
            if len(item.in_shape) > 1:
                self.flush()
                self.parts.append(GraphLayer(Flatten(), (item.name,)))
        else:
            self._block(item.name, module_of(item))

    def flush(self) -> None:
        """Make a layer without neurons of the pending map."""
        own = self.pending
        if own is None:
            return
        n_out, n_in = own.weight.shape[:2]
        bias = own.bias is not None
        layer: Layer = Dense(n_in, n_out, bias=bias)
        if own.spatial:
            layer = Conv2d(n_in, n_out, own.weight.shape[2], stride=own.stride, padding=own.padding, bias=bias)
        self._append(layer, own, {})

    def _append(self, layer: Layer, own: Map, more: dict[str, Values]) -> None:
        values = {"weight": own.weight, **({} if own.bias is None else {"bias": own.bias}), **more}
        weights = {key: tensor(value) for key, value in values.items()}
        self.parts.append(GraphLayer(layer, self.names, weights, own.identity))
        self.pending, self.names = None, ()

    def _block(self, name: str, module: nn.Module) -> None:
        self.flush()
        weights = {key: p.detach().clone() for key, p in module.named_parameters()}
        self.parts.append(GraphLayer(Block(module.float()), (name,), weights))

    def _scale(self, link: Link) -> None:
        factors = by_channel(values_of(link.node.scale, link.out_shape))
        if self.pending is None or factors is None:
            self._block(link.name, module_of(link))
            return
        self.pending, self.names = self.pending.scaled(factors), (*self.names, link.name)

    def _pool(self, link: Link, pool: tuple[int, int, bool], behind: Sequence[Link | Branches]) -> None:
        size, stride, sums = pool
        own = self.pending
        if own is not None and own.spatial and own.pool is None and _begins_with_neurons(behind):
            factor = np.full(len(own.weight), float(size**2 if sums else 1))
            self.pending = replace(own.scaled(factor), pool=(size, stride))
            self.names = (*self.names, link.name)
            return
        self.flush()
        if sums and not _begins_with_map(behind):
            self._block(link.name, module_of(link))
            return
        # a sum is a mean whose factor the weights behind it take over
        self.owed = float(size**2) if sums else 1.0
        self.parts.append(GraphLayer(AvgPool2d(size, stride=stride), (link.name,)))

    def _require_undelayed(self, link: Link) -> None:
        if kind_of(link.node) == "Delay":
            delay = values_of(link.node.delay, link.out_shape)
            if bool((np.abs(delay) * 2 >= self.settings.dt).any()):
                raise NeurofaError(
                    f"got a Delay '{link.name}' of {float(np.abs(delay).max()):g} s; expected none, since layers here"
                    " receive spikes in the tick in which they are sent; leave it out, or train in the simulator that"
                    " wrote it"
                )

    def _neurons(self, link: Link) -> None:
        shape = link.out_shape
        stages = stages_of(link, self.settings.dt, self.settings.method)
        lifted = len(shape) == 2
        if len(shape) not in (1, 2, 3):
            raise NeurofaError(
                f"got neurons '{link.name}' of shape {shape}; expected a vector or an image; flatten before them"
            )
        if lifted:  # (C, L) as an image of one row, since there are no layers of spiking neurons on lines
            self._block(link.name, nn.Unflatten(2, (1, shape[1])))
            shape = (shape[0], 1, shape[1])
            stages = [stage.in_shape(shape) for stage in stages]
        for index, stage in enumerate(stages):
            own = self.pending
            if own is None:
                own = identity_map(shape)
            self.names = (*self.names, link.name)
            self._stage(link, stage, own, recurrent=link.loop is not None and index == len(stages) - 1)
        if lifted:
            self._block(link.name, nn.Flatten(2))

    def _stage(self, link: Link, stage: Stage, own: Map, *, recurrent: bool) -> None:
        """Append the layer of a map and its neurons."""
        gain, divisor, drive = by_channel(stage.gain), 1.0 if stage.threshold is None else stage.gain, stage.drive
        if gain is None and (stage.threshold is None or bool((stage.gain <= 0).any())):
            raise NeurofaError(
                f"got r that differs within a channel of {kind_of(link.node)} '{link.name}'; expected one value a"
                " channel, or spiking neurons with r above 0; use one value for all positions of a channel"
            )
        if gain is None:
            drive = drive / stage.gain
        else:
            divisor = 1.0
            own = own.scaled(gain)
        offsets = by_channel(drive)
        if offsets is None:
            raise NeurofaError(
                f"got v_leak that differs within a channel of {kind_of(link.node)} '{link.name}'; expected one value a"
                " channel; use one value for all positions of a channel"
            )
        more: dict[str, Values] = {}
        if recurrent and link.loop is not None:
            assert gain is not None
            more["recurrent"] = link.loop.weight * gain[:, None]
            offsets = offsets + (0.0 if link.loop.bias is None else link.loop.bias * gain)
        own = own.shifted(offsets)
        neuron = stage.neuron(self.settings.surrogate, divisor)
        self._append(_spiking(own, neuron, recurrent=recurrent), own, more)


def _begins_with_neurons(chain: Sequence[Link | Branches]) -> bool:
    head = chain[0] if chain else None
    return isinstance(head, Link) and kind_of(head.node) in NEURONS


def _begins_with_map(chain: Sequence[Link | Branches]) -> bool:
    """Return whether the next node is an affine map, or a flattening to a vector with one behind it."""
    head = chain[0] if chain else None
    if isinstance(head, Link) and kind_of(head.node) == "Flatten" and len(head.out_shape) == 1:
        return _begins_with_map(chain[1:])
    return isinstance(head, Link) and map_of(head) is not None


def _spiking(own: Map, neuron: Neuron, *, recurrent: bool) -> Layer:
    n_out, n_in = own.weight.shape[:2]
    bias = own.bias is not None
    if not own.spatial:
        return Spiking(n_in, n_out, neuron=neuron, recurrent=recurrent, bias=bias)
    pool: Any = None if own.pool is None else AvgPool2d(own.pool[0], stride=own.pool[1])
    side = own.weight.shape[2]
    return SpikingConv2d(n_in, n_out, side, stride=own.stride, padding=own.padding, pool=pool, neuron=neuron, bias=bias)
