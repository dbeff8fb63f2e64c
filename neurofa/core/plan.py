"""What a rule may know of a network: names and shapes of its layers, never their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from neurofa.core.window import Window


@dataclass(frozen=True)
class Site:
    """What a rule may know of a layer: its name and shapes, never its weights."""

    name: str
    out_shape: tuple[int, ...]
    returning: dict[str, tuple[int, ...]]
    """Shapes of the weights that an error crosses on its way through the layer."""
    elementwise: bool
    """Whether the layer is one affine map behind an elementwise activation."""
    unreturned: tuple[str, ...] = ()
    """Weights that an error would cross without a return weight."""
    window: Window | None = None
    """What an output position sees of the output image of the site before (of the network's input at the first one),
    through pooling in between; None: everything, or not known."""

    @property
    def width(self) -> int:
        """Number of outputs of the layer."""
        return math.prod(self.out_shape)


@dataclass(frozen=True)
class Plan:
    """What a rule is built for: the layers with weights, from input to readout, and the number of outputs."""

    sites: tuple[Site, ...]
    outputs: int
    dtype: torch.dtype
    device: torch.device
    input_shape: tuple[int, ...]
    """Shape of one sample at the network's input."""

    @property
    def hidden(self) -> tuple[Site, ...]:
        """All sites but the readout."""
        return self.sites[:-1]

    @property
    def readout(self) -> Site:
        """The last layer with weights: it receives the error itself."""
        return self.sites[-1]
