"""A small convolutional net in the manner of LeNet."""

from __future__ import annotations

from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.recipes import image, network, positive
from neurofa.layers.carriers import Flatten, MaxPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense


@network("cnn", source="after LeCun et al. 1998 (LeNet-5)")
def cnn(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    device: str = "digital",
    channels: list[int] | None = None,
    hidden: int = 128,
    kernel: int = 5,
    activation: str = "relu",
    norm: str | None = None,
    dropout: float = 0.0,
) -> Network:
    """Convolutions (default 16 and 32 channels), each followed by pooling, then one hidden layer and a readout.

    Args:
        input_shape: (C, H, W).
        outputs: width of the readout.
        seed: of the weights.
        device: spec of the device for the affine weights.
        channels: of the convolutions; the image side is halved behind each.
        hidden: width of the fully connected layer.
        kernel: side of the kernels, odd, pixels.
        activation: of all hidden layers.
        norm: normalisation of all hidden layers, or None.
        dropout: probability of dropping a unit of the fully connected layer.
    """
    c, h, w = image(input_shape)
    widths = [16, 32] if channels is None else channels
    layers: list[Layer] = []
    for width in widths:
        positive(channels=width, kernel=kernel)
        layers += [Conv2d(c, width, kernel, padding=kernel // 2, activation=activation, norm=norm), MaxPool2d(2)]
        c, h, w = width, h // 2, w // 2
    layers += [Flatten(), Dense(c * h * w, hidden, activation=activation, norm=norm, dropout=dropout)]
    return Network([*layers, Dense(hidden, outputs)], input_shape, seed=seed, device=device)
