"""Neurons behind a matrix."""

from __future__ import annotations

from hwmodels.format import Format
from neurofa.maps.dense_map import DenseMap
from neurofa.spiking.neuron import Neuron
from neurofa.spiking.temporal import Temporal


class Spiking(Temporal, name="spiking"):
    """Neurons driven by W x + b, and by V z of the tick before where they are recurrent: (B, n_in) to (B, n_out).

    Args:
        n_in: inputs.
        n_out: neurons.
        neuron: their model.
        recurrent: whether they drive each other.
        bias: whether there is a b.
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
