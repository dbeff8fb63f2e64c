"""One stack of convolutions in three wirings: kernels shared, kernels untied, everything connected to everything."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import image, network, positive
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
        kernel: (C_out, C_in, k, k), with which every position begins.
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
        """(B, C_in, H, W) to (B, C_out, H', W')."""
        patches = nn.functional.unfold(x, self.window.side, stride=self.window.stride)
        # one position after another, each with the C_in k^2 values of its patch
        placed = self.maps(patches.transpose(1, 2).reshape(len(x), -1, 1, 1))
        y: Tensor = placed.view(len(x), patches.shape[2], -1).transpose(1, 2).reshape(len(x), -1, *self.sides)
        return y


@network("conv_stack", source="after the code of Refinetti et al. 2021, arXiv 2011.12428: ConvNet and its unrollings")
def conv_stack(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    device: str = "digital",
    channels: list[int] | None = None,
    kernel: int = 3,
    stride: int = 2,
    activation: str = "relu",
    wiring: Literal["shared", "local", "full"] = "shared",
) -> Network:
    """Convolutions (default 16 and 16 channels) without pooling, padding and biases, and a readout.

    With equal seeds the three wirings begin as the same function: ``local`` unties the kernels of different positions,
    ``full`` has dense layers that begin as the unrolled convolutions and may connect everything.

    Args:
        input_shape: (C, H, W).
        outputs: width of the readout.
        seed: of the weights.
        device: spec of the device for the affine weights.
        channels: of the convolutions.
        kernel: side of the kernels, pixels.
        stride: of all convolutions, pixels.
        activation: of all hidden layers.
        wiring: ``shared``, ``local`` or ``full``.
    """
    positive(kernel=kernel, stride=stride)
    window, shapes = Window(kernel, stride), [image(input_shape)]
    for width in [16, 16] if channels is None else channels:
        positive(channels=width)
        sides = [window.positions(side) for side in shapes[-1][1:]]
        if min(sides) < 1 or min(shapes[-1][1:]) < kernel:
            raise NeurofaError(
                f"got {len(channels or [16, 16])} convolutions of kernel {kernel} and stride {stride} on images of"
                f" {input_shape[1]}x{input_shape[2]}; expected images that hold them; take fewer, or a smaller stride"
            )
        shapes.append((width, sides[0], sides[1]))
    readout = Dense(math.prod(shapes[-1]), outputs, bias=False)
    layers: list[Layer] = [
        Conv2d(below[0], shape[0], kernel, stride=stride, activation=activation, bias=False)
        for below, shape in pairwise(shapes)
    ]
    shared = Network([*layers, Flatten(), readout], input_shape, seed=seed, device=device)
    if wiring == "shared":
        return shared
    return _untied(shared, shapes, window, activation, device, full=wiring == "full")


def _untied(
    shared: Network, shapes: list[tuple[int, int, int]], window: Window, activation: str, device: str, *, full: bool
) -> Network:
    """The same function in another wiring."""
    f: Activation = build("activation", activation)
    kernels = [layer.synapses.stored()["weight"] for _, layer in shared.items() if isinstance(layer, Conv2d)]
    below = [(kernel, *pair) for kernel, pair in zip(kernels, pairwise(shapes), strict=True)]
    layers: list[Layer]
    if full:
        hidden = [Dense(math.prod(a), math.prod(b), activation=f, bias=False) for _, a, b in below]
        starts = [dense_convolution(k, window, a) for k, a, _ in below]
        layers = [Flatten(), *hidden]
    else:
        starts = []
        layers = [Block(nn.Sequential(LocallyConnected2d(k, window, a), f.module())) for k, a, _ in below]
        layers.append(Flatten())
    readout = Dense(math.prod(shapes[-1]), shared.outputs, bias=False)
    made = Network([*layers, readout], shared.input_shape, seed=shared.seed, device=device)
    starts.append(shared.layer(shared.readout).stored()["weight"])
    gen = generator(shared.seed, "unrolled")
    dense = [layer for _, layer in made.items() if isinstance(layer, Dense)]
    for layer, start in zip(dense, starts, strict=True):
        layer.synapses["weight"].program(start, gen)
    return made
