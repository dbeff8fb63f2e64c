"""Spiking networks."""

from __future__ import annotations

import math

from hwmodels.spec import Spec
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.recipes import image, network, positive
from neurofa.layers.carriers import AvgPool2d, Flatten
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d


@network("snn")
def snn(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    device: str = "digital",
    hidden: list[int] | None = None,
    neuron: Spec | str = "lif",
    readout: Spec | str = "leaky",
    recurrent: bool = False,
    bias: bool = True,
    traces: Spec | str = "raw",
) -> Network:
    """Layers of spiking neurons of any widths (default 256), then a readout of leaky integrators.

    Args:
        input_shape: shape of one sample in one tick; flattened.
        outputs: width of the readout.
        seed: of the weights.
        device: spec of the device for the weights.
        hidden: widths of the spiking layers.
        neuron: model of the spiking neurons.
        readout: model of the readout's neurons.
        recurrent: whether the neurons of each spiking layer drive each other.
        bias: whether layers have biases.
        traces: number format of the eligibility traces.
    """
    widths = [256] if hidden is None else hidden
    layers: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
    before = math.prod(input_shape)
    for width in widths:
        positive(hidden=width)
        layers.append(Spiking(before, width, neuron=str(neuron), recurrent=recurrent, bias=bias, traces=str(traces)))
        before = width
    last = Spiking(before, outputs, neuron=str(readout), bias=bias, traces=str(traces))
    return Network([*layers, last], input_shape, seed=seed, device=device)


@network("conv_snn")
def conv_snn(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    device: str = "digital",
    channels: list[int] | None = None,
    kernel: int = 5,
    pool: int = 2,
    neuron: Spec | str = "lif",
    readout: Spec | str = "leaky",
) -> Network:
    """Spiking convolutions (default 12, 32 channels), each with average pooling, then a readout of leaky integrators.

    Args:
        input_shape: (C, H, W) of one tick.
        outputs: width of the readout.
        seed: of the weights.
        device: spec of the device for the weights.
        channels: output channels of the convolutions.
        kernel: side of the kernels, pixels; padded to keep the size.
        pool: side of the pooling windows, pixels.
        neuron: model of the spiking neurons.
        readout: model of the readout's neurons.
    """
    before, height, width = image(input_shape)
    layers: list[Layer] = []
    for count in [12, 32] if channels is None else channels:
        positive(channels=count, kernel=kernel, pool=pool)
        layers += [SpikingConv2d(before, count, kernel, padding=kernel // 2, neuron=str(neuron)), AvgPool2d(pool)]
        size = kernel // 2 * 2 - kernel + 1
        height, width, before = (height + size) // pool, (width + size) // pool, count
    layers += [Flatten(), Spiking(before * height * width, outputs, neuron=str(readout))]
    return Network(layers, input_shape, seed=seed, device=device)
