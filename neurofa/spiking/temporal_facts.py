"""Facts of layers with a memory for exports, costs and chip checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurofa.core.description import (
    LayerDescription,
    MemoryDescription,
    ModuleDescription,
    PoolDescription,
    SpikingDescription,
)
from neurofa.core.dynamics import OUT
from neurofa.core.products import MatrixInputs
from neurofa.core.view import LocalView
from neurofa.maps.affine_facts import AffineFacts


class TemporalFacts(AffineFacts):
    """Facts of a layer of neurons driven by an affine map, for exports, costs and chip checks.

    Args:
        layer: the described layer.
        inputs: function from layer and view to the inputs of every map, by weight.
        pool: pooling between the affine map and the neurons, or None.
    """

    def __init__(
        self, layer: Any, inputs: Callable[[Any, LocalView], dict[str, Tensor]], pool: PoolDescription | None
    ) -> None:
        super().__init__(layer)
        self._inputs, self.pool = inputs, pool

    def describe(self, in_shape: tuple[int, ...]) -> LayerDescription:
        layer = self.layer
        neuron, current = layer.neuron.describe(), self.affine_description(None)
        assert current is not None  # maps of spiking layers are dense, or square convolutions
        if neuron is None:
            return ModuleDescription(
                source=layer.neuron.name,
                synapses=dict(layer.synapses.items()),
                matrices=frozenset(self.matrices),
                reason=f"neurons of the model '{layer.neuron.name}' do not describe their dynamics",
            )
        return SpikingDescription(
            current=current,
            current_shape=tuple(layer.map.out_shape(torch.Size((1, *in_shape)))[1:]),
            neuron=neuron,
            recurrent=layer.synapses["recurrent"] if layer.recurrent else None,
            pool=self.pool,
        )

    @property
    def matrices(self) -> tuple[str, ...]:
        return (*super().matrices, "recurrent") if self.layer.recurrent else super().matrices

    @property
    def connections_in(self) -> int:
        return super().connections_in + self._units

    def connections(self, out_shape: tuple[int, ...]) -> int:
        gates: int = self.layer.neuron.gates
        return super().connections(out_shape) * gates + self._units * math.prod(out_shape) * gates

    @property
    def _units(self) -> int:
        """Number of neurons from which recurrent connections come to each neuron; 0: there are none."""
        channels: int = self.layer.map.channels
        gates: int = self.layer.neuron.gates
        return channels // gates if self.layer.recurrent else 0

    @property
    def activates(self) -> bool:
        spiking: bool = self.layer.neuron.spiking
        return spiking

    def memory(self) -> MemoryDescription:
        neuron = self.layer.neuron
        return MemoryDescription(
            spiking=neuron.spiking,
            traces=self.layer.traces,
            membrane=neuron.membrane,
            potential=neuron.potential,
            widths=neuron.widths() | ({OUT: 1.0} if neuron.spiking else {}),
            surrogate=neuron.spike_derivative,
        )

    def slope(self) -> tuple[str, Callable[[Tensor], Tensor]] | None:
        surrogate = self.layer.neuron.spike_derivative
        return super().slope() if surrogate is None else (surrogate.name, surrogate.derivative)

    def matrix_inputs(self, view: LocalView) -> tuple[MatrixInputs, ...]:
        own = super().matrix_inputs(view)
        if not self.layer.recurrent:
            return own
        return (*own, MatrixInputs("recurrent", self._inputs(self.layer, view)["recurrent"], _products, _updates))


def _products(outputs: Tensor, weights: Tensor) -> float:
    # every output of the tick before meets the weights of one column
    return float(weights.sum(0) @ outputs)


def _updates(errors: Tensor, outputs: Tensor) -> float:
    return float((errors.sum(1) * outputs.sum(1)).sum())
