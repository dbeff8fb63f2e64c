"""Spiking networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hwmodels.format import Format
from neurofa.core.layer import Layer
from neurofa.core.recipes import NetworkRecipe, image_shape, require_positive
from neurofa.layers.carriers import AvgPool2d, Flatten
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d
from neurofa.spiking.neuron import Neuron


@dataclass(frozen=True, kw_only=True)
class SNN(NetworkRecipe, name="snn"):
    """Spiking network: fully connected layers of spiking neurons, and a readout of leaky integrators.

    Samples are flattened.

    Args:
        hidden: widths of the spiking layers.
        neuron: model of the spiking neurons.
        readout: model of the readout's neurons.
        recurrent: whether the neurons of each spiking layer drive each other.
        bias: whether layers have biases.
        traces: number format of the eligibility traces.
    """

    trains_as = "spiking"

    hidden: Sequence[int] = (256,)
    neuron: Neuron | str = "lif"
    readout: Neuron | str = "leaky"
    recurrent: bool = False
    bias: bool = True
    traces: Format | str = "raw"

    def check(self) -> None:
        require_positive(hidden=self.hidden)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        bias, traces = self.bias, self.traces
        layers: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
        before = math.prod(input_shape)
        for width in self.hidden:
            layers.append(
                Spiking(before, width, neuron=self.neuron, recurrent=self.recurrent, bias=bias, traces=traces)
            )
            before = width
        return [*layers, Spiking(before, outputs, neuron=self.readout, bias=bias, traces=traces)]


@dataclass(frozen=True, kw_only=True)
class ConvSNN(NetworkRecipe, name="conv_snn"):
    """Spiking convolutions, each with average pooling, then a readout of leaky integrators.

    Args:
        channels: output channels of the convolutions.
        kernel: side of the kernels, pixels; padded to keep the size.
        pool: side of the pooling windows, pixels.
        neuron: model of the spiking neurons.
        readout: model of the readout's neurons.
    """

    trains_as = "spiking"

    channels: Sequence[int] = (12, 32)
    kernel: int = 5
    pool: int = 2
    neuron: Neuron | str = "lif"
    readout: Neuron | str = "leaky"

    def check(self) -> None:
        require_positive(channels=self.channels, kernel=self.kernel, pool=self.pool)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        c, h, w = image_shape(input_shape)
        kernel, pool = self.kernel, self.pool
        growth = kernel // 2 * 2 - kernel + 1  # a kernel of even side adds a row and a column
        layers: list[Layer] = []
        for width in self.channels:
            layers += [SpikingConv2d(c, width, kernel, padding=kernel // 2, neuron=self.neuron), AvgPool2d(pool)]
            c, h, w = width, (h + growth) // pool, (w + growth) // pool
        return [*layers, Flatten(), Spiking(c * h * w, outputs, neuron=self.readout)]
