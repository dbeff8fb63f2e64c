"""A small convolutional net in the manner of LeNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurofa.core.layer import Layer
from neurofa.core.recipes import NetworkRecipe, image_shape, require_positive
from neurofa.layers.carriers import Flatten, MaxPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.maps.activations import Activation
from neurofa.maps.norms import Norm


@dataclass(frozen=True, kw_only=True)
class CNN(NetworkRecipe, name="cnn"):
    """Convolutional net: convolutions, each followed by 2x2 max pooling, one fully connected layer, and a readout.

    Args:
        channels: of the convolutions; the image side is halved behind each.
        hidden: width of the fully connected layer.
        kernel: side of the kernels, odd, pixels.
        activation: of all hidden layers.
        norm: normalisation of all hidden layers, or None.
        dropout: probability of dropping a unit of the fully connected layer.
    """

    source = "after LeCun et al. 1998 (LeNet-5)"
    trains_as = "convolutional"

    channels: Sequence[int] = (16, 32)
    hidden: int = 128
    kernel: int = 5
    activation: Activation | str = "relu"
    norm: Norm | str | None = None
    dropout: float = 0.0

    def check(self) -> None:
        require_positive(channels=self.channels, kernel=self.kernel, hidden=self.hidden)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        c, h, w = image_shape(input_shape)
        f, norm, kernel = self.activation, self.norm, self.kernel
        layers: list[Layer] = []
        for width in self.channels:
            layers += [Conv2d(c, width, kernel, padding=kernel // 2, activation=f, norm=norm), MaxPool2d(2)]
            c, h, w = width, h // 2, w // 2
        hidden = Dense(c * h * w, self.hidden, activation=f, norm=norm, dropout=self.dropout)
        return [*layers, Flatten(), hidden, Dense(self.hidden, outputs)]
