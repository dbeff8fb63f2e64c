"""Recurrent networks without spikes, for sequences."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from neurofa.core.layer import Layer
from neurofa.core.recipes import NetworkRecipe, require_positive
from neurofa.layers.carriers import Flatten
from neurofa.layers.gru import GRU
from neurofa.layers.lstm import LSTM
from neurofa.layers.spiking import Spiking
from neurofa.spiking.neuron import Neuron


@dataclass(frozen=True, kw_only=True)
class RecurrentRecipe(NetworkRecipe):
    """Recurrent layers one above the other, and a readout of leaky integrators; samples are flattened."""

    trains_as = "spiking"

    hidden: Sequence[int] = (64,)
    readout: Neuron | str = "leaky"

    def check(self) -> None:
        require_positive(hidden=self.hidden)

    @abstractmethod
    def recurrent(self, n_in: int, n_out: int) -> Layer:
        """Return one recurrent layer."""

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        layers: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
        before = math.prod(input_shape)
        for width in self.hidden:
            layers.append(self.recurrent(before, width))
            before = width
        return [*layers, Spiking(before, outputs, neuron=self.readout)]


@dataclass(frozen=True, kw_only=True)
class RateNetwork(RecurrentRecipe, name="rnn"):
    """Recurrent network of rate neurons, tanh(u) with a leaky potential u; with decay 0 that of ``torch.nn.RNN``.

    Args:
        hidden: widths of the recurrent layers.
        readout: model of the readout's neurons.
        decay: of the potential per tick.
        function: ``tanh`` or ``relu``.
    """

    decay: float = 0.9
    function: str = "tanh"

    def recurrent(self, n_in: int, n_out: int) -> Layer:
        return Spiking(n_in, n_out, neuron=f"rate(decay={self.decay}, function={self.function})", recurrent=True)


@dataclass(frozen=True, kw_only=True)
class GRUNetwork(RecurrentRecipe, name="gru"):
    """Recurrent network of gated recurrent units.

    Args:
        hidden: widths of the recurrent layers.
        readout: model of the readout's neurons.
    """

    def recurrent(self, n_in: int, n_out: int) -> Layer:
        return GRU(n_in, n_out)


@dataclass(frozen=True, kw_only=True)
class LSTMNetwork(RecurrentRecipe, name="lstm"):
    """Recurrent network of long short-term memory units.

    Args:
        hidden: widths of the recurrent layers.
        readout: model of the readout's neurons.
    """

    def recurrent(self, n_in: int, n_out: int) -> Layer:
        return LSTM(n_in, n_out)
