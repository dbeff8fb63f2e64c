"""Gated layers: several input currents a unit, whose products are what the unit keeps and shows.

Every unit has G currents, one a gate. For its eligibility each of them counts as a neuron with the unit's own memory:
the decay M_t of the unit, its own entry g_t, and the unit's derivative c_t of the output. Derivatives through the
recurrent weights are cut, as for neurons. Since M_t is a gate, it differs from unit to unit and from tick to tick:
every weight has a trace of its own where a sequence is cut into chunks.

Source: Bellec et al. 2020, Nature Communications 11, 3625, supplementary note on LSTM units.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.dynamics import OUT, TRACE
from neurofa.core.layer import LayerTraits
from neurofa.core.view import LocalView, Params, State
from neurofa.maps.dense_map import DenseMap
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.neuron import Neuron
from neurofa.spiking.temporal import Run, Temporal, map_inputs
from neurofa.spiking.temporal_facts import TemporalFacts


class GatedUnit(Neuron):
    """A unit with several gates: what it keeps and shows for the currents of one tick, and its derivatives."""

    spiking = False

    @abstractmethod
    def drive(self, inputs: Tensor, recurrent: Tensor, state: State) -> tuple[Tensor, State, State]:
        """Compute one tick, differentiable by autograd.

        Args:
            inputs: (B, G n), currents W x + b.
            recurrent: (B, G n), currents V y of the tick before.
            state: before the tick.

        Returns:
            (B, n) output; tensors recorded for :meth:`dynamics`; state after the tick.
        """

    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        return self.drive(current, torch.zeros_like(current), state)


class Gated(Temporal):
    """A recurrent layer of gated units with currents W x_t + b and V y_{t-1}: (B, n_in) to (B, n).

    Args:
        n_in: inputs.
        n_out: n, units.
        unit: model of the units.
        bias: whether b is added.
    """

    neuron: GatedUnit

    def __init__(self, n_in: int, n_out: int, unit: GatedUnit, *, bias: bool) -> None:
        super().__init__(DenseMap(n_in, unit.gates * n_out), unit, bias=bias, recurrent=True, traces="raw")
        self.units = n_out

    @property
    def traits(self) -> LayerTraits:
        # the gates compute exactly: their currents are not outputs of one array
        facts = GatedFacts(self, map_inputs, None)
        return replace(super().traits, elementwise=False, array_host=None, mirror=None, facts=facts)

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        rows, bound = self.map.channels, self.units**-0.5

        def drawn(*shape: int) -> Tensor:
            return torch.empty(shape).uniform_(-bound, bound, generator=gen)

        self.synapses.add("weight", drawn(rows, self.map.fan_in), device, gen)
        if self.bias:
            self.synapses.add("bias", drawn(rows), build("device", "digital"), gen)
        self.synapses.add("recurrent", drawn(rows, self.units), device, gen)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        # differentiable by autograd: the slow oracle of run_ticks
        current, _ = self.currents(params, x, state)
        known = {key: value for key, value in state.items() if not key.startswith(TRACE)}
        memory = self.initial_state(current.detach()[:, : self.units]) | known
        among = nn.functional.linear(memory[OUT], params["recurrent"])
        y, left, after = self.neuron.drive(current, among, memory)
        return y, {**left, **after, OUT: y}

    def run_ticks(self, params: Params, x: Tensor, ticks: int, state: State) -> Run:
        rows, _ = self.currents(params, x, state)
        outs, lefts, y = [], [], state[OUT]
        for current in as_ticks(rows, len(rows) // ticks).unbind(0):
            y, left, state = self.neuron.drive(current, nn.functional.linear(y, params["recurrent"]), state)
            outs.append(y)
            lefts.append(left)
        recorded = {key: torch.cat([left[key] for left in lefts]) for key in lefts[0]}
        return Run(torch.cat(outs), recorded, {**state, OUT: y})

    def backprop_with(self, view: LocalView, derivative: Callable[[Tensor], Tensor]) -> LocalView:
        raise NeurofaError(
            f"got a rule with a derivative of its own for {self.name} units; expected one that takes the derivatives of"
            " the gates; use eprop, dfa or bptt"
        )


class GatedFacts(TemporalFacts):
    """Facts of a layer of gated units: an output has the inputs of all its gates.

    Args:
        layer: the described layer.
        inputs: function from layer and view to the inputs of every map, by weight.
        pool: None.
    """

    @property
    def connections_in(self) -> int:
        gates: int = self.layer.neuron.gates
        return gates * (int(self.layer.map.fan_in) + int(self.layer.units))
