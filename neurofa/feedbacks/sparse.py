"""Random matrices with most entries zero."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.feedback import MatrixFeedback, Scale


class SparseFeedback(MatrixFeedback, name="sparse"):
    """Random matrices as of ``dense``; each entry is kept with probability ``density``, scaled by 1/sqrt(density).

    The scaling keeps the power of the teaching signal. The zeros are stored: sparse wiring is modelled, not exploited.

    Args:
        density: probability that an entry is not zero.
        gain: factor of the entries.
        distribution: ``uniform`` or ``normal``.
        values: number format of the entries that are kept; default: as drawn.
        device: device on which B lives.
        scale: ``backprop``: delivered errors are as large as those of backpropagation at initialisation; ``fixed``:
            1/sqrt(3) of the error at every layer; None: as the learner says, ``backprop`` unless it is told otherwise.
    """

    source = "Crafton et al. 2019, arXiv 1903.02083"

    def __init__(
        self,
        *,
        density: float = 0.1,
        gain: float = 1.0,
        distribution: str = "uniform",
        values: Format | str = "raw",
        device: Device | str = "digital",
        scale: Scale | None = None,
    ) -> None:
        super().__init__(gain=gain, distribution=distribution, values=values, device=device, scale=scale)
        if not 0 < density <= 1:
            raise NeurofaError(f"got sparse(density={density}); expected above 0 and at most 1; 0.1 is the default")
        self.density = density

    def thin(self, b: Tensor, gen: torch.Generator) -> Tensor:
        keep = torch.rand(b.shape, generator=gen) < self.density
        return b * keep / math.sqrt(self.density)
