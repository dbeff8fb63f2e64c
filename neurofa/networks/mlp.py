"""Multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from neurofa.core.layer import Layer
from neurofa.core.recipes import NetworkRecipe, require_positive
from neurofa.layers.carriers import Flatten
from neurofa.layers.dense import Dense
from neurofa.maps.activations import Activation
from neurofa.maps.norms import Norm


@dataclass(frozen=True, kw_only=True)
class MLP(NetworkRecipe, name="mlp"):
    """Multilayer perceptron: fully connected layers of any widths and a linear readout; samples are flattened.

    Args:
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        norm: normalisation of the hidden layers, or None.
        dropout: probability of dropping a hidden unit.
        bias: whether layers have biases.
    """

    hidden: Sequence[int] = (256, 256)
    activation: Activation | str = "tanh"
    norm: Norm | str | None = None
    dropout: float = 0.0
    bias: bool = True

    def check(self) -> None:
        require_positive(hidden=self.hidden)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        layers: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
        before = math.prod(input_shape)
        for width in self.hidden:
            layers.append(
                Dense(before, width, activation=self.activation, norm=self.norm, dropout=self.dropout, bias=self.bias)
            )
            before = width
        return [*layers, Dense(before, outputs, bias=self.bias)]
