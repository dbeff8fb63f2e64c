"""VGG-like nets of any plan of widths."""

from __future__ import annotations

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.recipes import image, network, positive
from neurofa.layers.carriers import Flatten, MaxPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense


@network("vgg", source="after Simonyan and Zisserman 2015, arXiv 1409.1556")
def vgg(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    seed: int = 0,
    device: str = "digital",
    plan: list[int | str] | None = None,
    hidden: list[int] | None = None,
    activation: str = "relu",
    norm: str | None = "batch",
    dropout: float = 0.0,
) -> Network:
    """3x3 convolutions by a plan of widths with M for a pooling, then fully connected layers and a readout.

    Args:
        input_shape: (C, H, W).
        outputs: width of the readout.
        seed: of the weights.
        device: spec of the device for the affine weights.
        plan: such as ``[64, 64, M, 128, 128, M]``; default ``[32, 32, M, 64, 64, M, 128, 128, M]``.
        hidden: widths of the fully connected layers; default none.
        activation: of all hidden layers.
        norm: normalisation of all hidden layers, or None.
        dropout: probability of dropping a unit of the fully connected layers.
    """
    c, h, w = image(input_shape)
    layers: list[Layer] = []
    for step in [32, 32, "M", 64, 64, "M", 128, 128, "M"] if plan is None else plan:
        if step == "M":
            layers.append(MaxPool2d(2))
            h, w = h // 2, w // 2
        elif isinstance(step, int):
            positive(plan=step)
            layers.append(Conv2d(c, step, 3, padding=1, activation=activation, norm=norm))
            c = step
        else:
            raise NeurofaError(f"got '{step}' in the plan of vgg; expected widths and M; change it")
    if min(h, w) < 1:
        raise NeurofaError(
            f"got more poolings than images of {input_shape[1]}x{input_shape[2]} allow; expected a side of at least 1"
            " pixel at the end; take an M out of the plan"
        )
    layers.append(Flatten())
    before = c * h * w
    for width in hidden or []:
        positive(hidden=width)
        layers.append(Dense(before, width, activation=activation, norm=norm, dropout=dropout))
        before = width
    return Network([*layers, Dense(before, outputs)], input_shape, seed=seed, device=device)
