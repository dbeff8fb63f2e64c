"""VGG-like nets of any plan of widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.recipes import NetworkRecipe, image_shape, require_positive
from neurofa.layers.carriers import Flatten, MaxPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.maps.activations import Activation
from neurofa.maps.norms import Norm


@dataclass(frozen=True, kw_only=True)
class VGG(NetworkRecipe, name="vgg"):
    """VGG net: 3x3 convolutions and max poolings in the order of ``plan``, fully connected layers, and a readout.

    Args:
        plan: widths of the convolutions, and ``M`` for a max pooling that halves the image.
        hidden: widths of the fully connected layers.
        activation: of all hidden layers.
        norm: normalisation of all hidden layers, or None.
        dropout: probability of dropping a unit of the fully connected layers.
    """

    source = "after Simonyan and Zisserman 2015, arXiv 1409.1556"
    trains_as = "convolutional"

    plan: Sequence[int | str] = (32, 32, "M", 64, 64, "M", 128, 128, "M")
    hidden: Sequence[int] = ()
    activation: Activation | str = "relu"
    norm: Norm | str | None = "batch"
    dropout: float = 0.0

    def check(self) -> None:
        widths = [step for step in self.plan if isinstance(step, int)]
        require_positive(plan=widths, hidden=self.hidden)
        for step in self.plan:
            if step not in ("M", *widths):
                raise NeurofaError(f"got '{step}' in the plan of vgg; expected widths and M; change it")

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        c, h, w = image_shape(input_shape)
        f, norm = self.activation, self.norm
        layers: list[Layer] = []
        for step in self.plan:
            if isinstance(step, int):
                layers.append(Conv2d(c, step, 3, padding=1, activation=f, norm=norm))
                c = step
            else:
                layers.append(MaxPool2d(2))
                h, w = h // 2, w // 2
        if min(h, w) < 1:
            raise NeurofaError(
                f"got more poolings than images of {input_shape[1]}x{input_shape[2]} allow; expected a side of at least"
                " 1 pixel at the end; take an M out of the plan"
            )
        before = c * h * w
        layers.append(Flatten())
        for width in self.hidden:
            layers.append(Dense(before, width, activation=f, norm=norm, dropout=self.dropout))
            before = width
        return [*layers, Dense(before, outputs)]
