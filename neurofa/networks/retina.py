"""A model of the early visual system: a retina of two convolutions, then a stack of cortical ones."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.recipes import NetworkRecipe, image_shape, require_positive
from neurofa.layers.carriers import AvgPool2d, Flatten
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense


@dataclass(frozen=True, kw_only=True)
class Retina(NetworkRecipe, name="retina"):
    """Model of the visual system: a retina of two convolutions, the second the optic nerve, then cortical convolutions.

    All convolutions keep the size of the image, and are followed by ReLU; then come a hidden layer and a readout. The
    source has 32 channels, kernels of 9 x 9 and 1024 hidden units on grey images.

    Args:
        channels: of the first retinal and of the cortical convolutions.
        bottleneck: channels of the optic nerve.
        depth: number of cortical convolutions.
        kernel: side of all kernels, pixels; odd.
        pool: side of the squares that are averaged before the retina, pixels; 1: none.
        hidden: width of the fully connected layer.
        dropout: probability of dropping a unit of the fully connected layer.
    """

    source = "Lindsey, Ocko, Ganguli and Deny 2019, arXiv 1901.00945"
    trains_as = "convolutional"

    channels: int = 8
    bottleneck: int = 8
    depth: int = 2
    kernel: int = 9
    pool: int = 1
    hidden: int = 64
    dropout: float = 0.0

    def check(self) -> None:
        sizes = {"channels": self.channels, "bottleneck": self.bottleneck, "depth": self.depth}
        require_positive(**sizes, kernel=self.kernel, pool=self.pool, hidden=self.hidden)

    def layers(self, input_shape: tuple[int, ...], outputs: int, seed: int) -> list[Layer]:
        c, h, w = image_shape(input_shape)
        kernel, pool = self.kernel, self.pool
        if kernel % 2 == 0 or min(h, w) // pool < 1:
            raise NeurofaError(
                f"got retina(kernel={kernel}, pool={pool}) for images of {h}x{w}; expected an odd kernel and squares"
                " that fit; change them"
            )
        layers: list[Layer] = [AvgPool2d(pool)] if pool > 1 else []
        for width in (self.channels, self.bottleneck, *[self.channels] * self.depth):
            layers.append(Conv2d(c, width, kernel, padding=kernel // 2, activation="relu"))
            c = width
        hidden = Dense(c * (h // pool) * (w // pool), self.hidden, activation="relu", dropout=self.dropout)
        return [*layers, Flatten(), hidden, Dense(self.hidden, outputs)]
