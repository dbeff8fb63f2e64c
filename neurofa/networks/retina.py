"""A model of the early visual system: a retina of two convolutions, then a stack of cortical ones."""

from __future__ import annotations

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.recipes import image, network, positive
from neurofa.layers.carriers import AvgPool2d, Flatten
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense


@network("retina", source="Lindsey, Ocko, Ganguli and Deny 2019, arXiv 1901.00945")
def retina(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    device: str = "digital",
    channels: int = 8,
    bottleneck: int = 8,
    depth: int = 2,
    kernel: int = 9,
    pool: int = 1,
    hidden: int = 64,
    dropout: float = 0.0,
) -> Network:
    """Two retinal convolutions, the second one's outputs being the optic nerve, then ``depth`` cortical ones.

    All convolutions keep the size of the image, and are followed by ReLU; then come a hidden layer and a readout. The
    source has 32 channels, kernels of 9 x 9 and 1024 hidden units on grey images.

    Args:
        input_shape: (C, H, W).
        outputs: width of the readout.
        seed: of the weights.
        device: spec of the device for the affine weights.
        channels: of the first retinal and of the cortical convolutions.
        bottleneck: channels of the optic nerve.
        depth: number of cortical convolutions.
        kernel: side of all kernels, pixels; odd.
        pool: side of the squares that are averaged before the retina, pixels; 1: none.
        hidden: width of the fully connected layer.
        dropout: probability of dropping one of its units.
    """
    c, h, w = image(input_shape)
    positive(channels=channels, bottleneck=bottleneck, depth=depth, kernel=kernel, pool=pool, hidden=hidden)
    if kernel % 2 == 0 or min(h, w) // pool < 1:
        raise NeurofaError(
            f"got retina(kernel={kernel}, pool={pool}) for images of {h}x{w}; expected an odd kernel and squares that"
            " fit; change them"
        )
    layers: list[Layer] = [AvgPool2d(pool)] if pool > 1 else []
    before = c
    for width in (channels, bottleneck, *[channels] * depth):
        layers.append(Conv2d(before, width, kernel, padding=kernel // 2, activation="relu"))
        before = width
    units = before * (h // pool) * (w // pool)
    layers += [Flatten(), Dense(units, hidden, activation="relu", dropout=dropout), Dense(hidden, outputs)]
    return Network(layers, input_shape, seed=seed, device=device)
