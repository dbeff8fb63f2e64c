"""Plan of a network: names and shapes of its layers, all that a rule may know of it; never their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from neurofa.core.window import Window


@dataclass(frozen=True)
class Site:
    """Name and shapes of one layer with weights."""

    name: str
    out_shape: tuple[int, ...]
    """Shape of one sample at the layer's output; of one position where the network answers at every position."""
    returning: dict[str, tuple[int, ...]]
    """Shapes of the weights that an error crosses on its way through the layer, by name."""
    elementwise: bool
    """Whether the layer is one affine map followed by an elementwise activation."""
    unreturned: tuple[str, ...] = ()
    """Names of the weights that an error would cross without a return weight."""
    window: Window | None = None
    """Receptive field of an output position on the output image of the site before (for the first site: on the
    network's input), pooling in between included; None: all positions, or not known."""
    error_size: float | None = None
    """rms(error at the layer's output) / rms(output error) of backpropagation at initialisation, from shapes and
    initialisers alone (:mod:`neurofa.core.error_sizes`); None: not known, or not asked for."""

    @property
    def width(self) -> int:
        """Number of outputs of the layer."""
        return math.prod(self.out_shape)


@dataclass(frozen=True)
class Plan:
    """The layers with weights, from input to readout, and the network's shapes, dtype and device."""

    sites: tuple[Site, ...]
    """The layers with weights; the last one is the readout."""
    outputs: int
    """o: width of the readout."""
    dtype: torch.dtype
    """Dtype of the weights."""
    device: torch.device
    """Device of the weights."""
    input_shape: tuple[int, ...]
    """Shape of one sample at the network's input."""
    positions: int | None = None
    """S: positions (tokens) of a sample at which the network answers, each with an error of its own; None: it answers
    once. An error then has N = B S rows."""
    mixed: tuple[str, ...] = ()
    """Names of the layers whose output does not have these S positions as its first axis."""

    @property
    def hidden(self) -> tuple[Site, ...]:
        """All sites but the readout."""
        return self.sites[:-1]

    @property
    def readout(self) -> Site:
        """The last layer with weights; it receives the output error itself."""
        return self.sites[-1]
