"""Squeeze and excitation: channels of an image are weighed by what all of them hold on average."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.view import Params, State
from neurofa.maps.autograd_layer import AutogradLayer


class SqueezeExcite(AutogradLayer, name="squeeze_excite"):
    """h = x * sigmoid(V relu(W m + b) + c), m the mean of x over positions: (B, C, ...) to (B, C, ...).

    W is (hidden, C), V (C, hidden); both are drawn as a dense layer's weights.

    Args:
        channels: C.
        hidden: width of the bottleneck.
    """

    source = "Hu, Shen and Sun 2018, arXiv 1709.01507, equations 2 to 4"

    def __init__(self, channels: int = 2, hidden: int = 3) -> None:
        super().__init__()
        if min(channels, hidden) < 1:
            raise NeurofaError(
                f"got squeeze_excite(channels={channels}, hidden={hidden}); expected at least 1 each; change them"
            )
        self.channels, self.hidden = channels, hidden

    def initialise(self, device: Device, gen: torch.Generator) -> None:
        exact = build("device", "digital")
        for key, n_in, n_out in (("squeeze", self.channels, self.hidden), ("excite", self.hidden, self.channels)):
            bound = n_in**-0.5
            self.synapses.add(key, torch.empty(n_out, n_in).uniform_(-bound, bound, generator=gen), device, gen)
            drawn = torch.empty(n_out).uniform_(-bound, bound, generator=gen)
            self.synapses.add(f"{key}_bias", drawn, exact, gen)

    def compute(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        if x.dim() < 3 or x.shape[1] != self.channels:
            raise NeurofaError(
                f"got input of shape {tuple(x.shape[1:])} at squeeze_excite; expected images of {self.channels}"
                " channels; reshape it, or change channels"
            )
        narrow = linear(x.flatten(2).mean(2), params["squeeze"], params["squeeze_bias"]).relu()
        gate = linear(narrow, params["excite"], params["excite_bias"]).sigmoid()
        return x * gate.view(*gate.shape, *[1] * (x.dim() - 2)), {}
