"""Neurons behind a convolution."""

from __future__ import annotations

from hwmodels.quantize import Format
from neurofa.conv_map import ConvMap
from neurofa.neuron import Neuron
from neurofa.temporal import Temporal


class SpikingConv2d(Temporal, ConvMap, name="spiking_conv"):
    """Neurons driven by W * x + b: (B, C_in, H, W) to (B, C_out, H', W').

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel, pixels.
        stride: step between positions, pixels.
        padding: zeros added on every side, pixels.
        neuron: model of the neurons.
        bias: whether there is a b.
        traces: number format of the eligibility traces.
    """

    def __init__(
        self,
        c_in: int = 2,
        c_out: int = 4,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: int = 0,
        neuron: Neuron | str = "lif",
        bias: bool = True,
        traces: Format | str = "raw",
    ) -> None:
        super().__init__(c_in, c_out, kernel, stride=stride, padding=padding, bias=bias)
        self.own(neuron, traces, recurrent=False)
