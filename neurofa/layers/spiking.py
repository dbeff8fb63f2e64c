"""Fully connected layer of spiking neurons."""

from __future__ import annotations

from hwmodels.format import Format
from neurofa.maps.dense_map import DenseMap
from neurofa.spiking.neuron import Neuron
from neurofa.spiking.temporal import Temporal


class Spiking(Temporal, name="spiking"):
    """Spiking neurons with input current W x_t + b, plus V z_{t-1} if recurrent: (B, n_in) to (B, n_out).

    x_t are the inputs and z_t the outputs of tick t.

    Args:
        n_in: inputs.
        n_out: neurons.
        neuron: model of the neurons.
        recurrent: whether there are weights V between the neurons.
        bias: whether b is added.
        traces: number format of the eligibility traces.
    """

    def __init__(
        self,
        n_in: int = 4,
        n_out: int = 3,
        *,
        neuron: Neuron | str = "lif",
        recurrent: bool = False,
        bias: bool = True,
        traces: Format | str = "raw",
    ) -> None:
        super().__init__(DenseMap(n_in, n_out), neuron, bias=bias, recurrent=recurrent, traces=traces)
