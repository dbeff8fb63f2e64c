"""Multilayer perceptron."""

from __future__ import annotations

import math

from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.recipes import network, positive
from neurofa.layers.carriers import Flatten
from neurofa.layers.dense import Dense


@network("mlp")
def mlp(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    device: str = "digital",
    hidden: list[int] | None = None,
    activation: str = "tanh",
    norm: str | None = None,
    dropout: float = 0.0,
    bias: bool = True,
) -> Network:
    """Fully connected layers of any widths (default 256, 256), then a linear readout.

    Args:
        input_shape: shape of one sample; flattened.
        outputs: width of the readout.
        seed: of the weights.
        device: spec of the device for the affine weights.
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        norm: normalisation of the hidden layers, or None.
        dropout: probability of dropping a hidden unit.
        bias: whether layers have biases.
    """
    widths = [256, 256] if hidden is None else hidden
    layers: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
    before = math.prod(input_shape)
    for width in widths:
        positive(hidden=width)
        layers.append(Dense(before, width, activation=activation, norm=norm, dropout=dropout, bias=bias))
        before = width
    return Network([*layers, Dense(before, outputs, bias=bias)], input_shape, seed=seed, device=device)
