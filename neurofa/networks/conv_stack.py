"""One stack of convolutions in three wirings: kernels shared, kernels untied, everything connected to everything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import NetworkRecipe, image_shape, require_positive
from neurofa.core.window import Window
from neurofa.layers.block import Block
from neurofa.layers.carriers import Flatten
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.linalg.convolution import dense_convolution
from neurofa.maps.activations import Activation


class LocallyConnected2d(nn.Module):
    """A convolution whose every position has a kernel of its own: (B, C_in, H, W) to (B, C_out, H', W').

    Written as a 1x1 convolution with a group for each position, so that rules find its weights in an ``nn.Conv2d``.

    Args:
        kernel: (C_out, C_in, k, k), initial kernel of every position.
        window: with side k, without padding.
        in_shape: (C_in, H, W).
    """

    def __init__(self, kernel: Tensor, window: Window, in_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.window = window
        self.sides = (window.positions(in_shape[1]), window.positions(in_shape[2]))
        places = math.prod(self.sides)
        self.maps = nn.Conv2d(places * kernel[0].numel(), places * len(kernel), 1, groups=places, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(kernel.flatten(1)[..., None, None].repeat(places, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs at all positions: (B, C_in, H, W) to (B, C_out, H', W')."""
        patches = nn.functional.unfold(x, self.window.side, stride=self.window.stride)
        # one position after another, each with the C_in k^2 values of its patch
        placed = self.maps(patches.transpose(1, 2).reshape(len(x), -1, 1, 1))
        y: Tensor = placed.view(len(x), patches.shape[2], -1).transpose(1, 2).reshape(len(x), -1, *self.sides)
        return y


@dataclass(frozen=True, kw_only=True)
class ConvStack(NetworkRecipe, name="conv_stack"):
    """A stack of convolutions without pooling, padding and biases, and a readout, in one of three wirings.

    ``shared`` are convolutions. ``local`` has a kernel of its own at each position, and ``full`` has dense layers,
    whose weights start as the matrices of the convolutions. With equal seeds all three start as the same function.

    Args:
        channels: of the convolutions.
        kernel: side of the kernels, pixels.
        stride: of all convolutions, pixels.
        activation: of all hidden layers.
        wiring: ``shared``, ``local`` or ``full``.
    """

    source = "after the code of Refinetti et al. 2021, arXiv 2011.12428: ConvNet and its unrollings"
    trains_as = "convolutional"

    channels: Sequence[int] = (16, 16)
    kernel: int = 3
    stride: int = 2
    activation: Activation | str = "relu"
    wiring: Literal["shared", "local", "full"] = "shared"

    def check(self) -> None:
        require_positive(kernel=self.kernel, stride=self.stride, channels=self.channels)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        shapes = self._shapes(input_shape)
        layers: list[Layer] = [
            Conv2d(before[0], shape[0], self.kernel, stride=self.stride, activation=self.activation, bias=False)
            for before, shape in pairwise(shapes)
        ]
        return [*layers, Flatten(), Dense(math.prod(shapes[-1]), outputs, bias=False)]

    def assemble(self, input_shape: tuple[int, ...], outputs: int, seed: int, device: Device | str) -> Network:
        shared = super().assemble(input_shape, outputs, seed, device)
        return shared if self.wiring == "shared" else self._untied(shared, self._shapes(input_shape), device)

    def _shapes(self, input_shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
        """Shapes of the image before every convolution, and behind the last one."""
        window, shapes = Window(self.kernel, self.stride), [image_shape(input_shape)]
        for width in self.channels:
            sides = [window.positions(side) for side in shapes[-1][1:]]
            if min(sides) < 1 or min(shapes[-1][1:]) < self.kernel:
                raise NeurofaError(
                    f"got {len(self.channels)} convolutions of kernel {self.kernel} and stride {self.stride} on images"
                    f" of {input_shape[1]}x{input_shape[2]}; expected images that hold them; take fewer, or a smaller"
                    " stride"
                )
            shapes.append((width, sides[0], sides[1]))
        return shapes

    def _untied(self, shared: Network, shapes: list[tuple[int, int, int]], device: Device | str) -> Network:
        """Return the same function in another wiring."""
        f: Activation = build("activation", self.activation)
        window = Window(self.kernel, self.stride)
        kernels = [layer.synapses.stored()["weight"] for _, layer in shared.items() if isinstance(layer, Conv2d)]
        convolutions = [(kernel, *pair) for kernel, pair in zip(kernels, pairwise(shapes), strict=True)]
        layers: list[Layer] = [Flatten()]
        starts = []
        if self.wiring == "full":
            layers += [Dense(math.prod(a), math.prod(b), activation=f, bias=False) for _, a, b in convolutions]
            starts = [dense_convolution(kernel, window, a) for kernel, a, _ in convolutions]
        else:
            local = [LocallyConnected2d(kernel, window, a) for kernel, a, _ in convolutions]
            layers = [*(Block(nn.Sequential(module, f.module())) for module in local), *layers]
        readout = Dense(math.prod(shapes[-1]), shared.outputs, bias=False)
        network = Network([*layers, readout], shared.input_shape, seed=shared.seed, device=device)
        starts.append(shared.layer(shared.readout).synapses.stored()["weight"])
        gen = generator(shared.seed, "unrolled")
        dense = [layer for _, layer in network.items() if isinstance(layer, Dense)]
        for layer, start in zip(dense, starts, strict=True):
            layer.synapses["weight"].program(start, gen)
        return network
