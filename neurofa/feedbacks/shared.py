"""One random matrix for all layers; each layer uses its first rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurofa.core.feedback import Feedback, MatrixFeedback
from neurofa.core.plan import Site
from neurofa.core.synapses import Synapses


class SharedFeedback(MatrixFeedback, name="shared"):
    """One random matrix B, (largest width, o), for all layers; a layer of width n takes its first n rows.

    Optical processors work in this way: one projection sends the error to all layers.

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 o).
        distribution: ``uniform`` or ``normal``.
        values: number format of the entries; default: as drawn.
        device: device on which B lives.
    """

    source = "Launay et al. 2020, arXiv 2006.12878 (sliced global feedback)"

    def _open(self, sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> None:
        self.slices |= {site.name: slice(0, site.width) for site in sites}
        widest = max((site.width for site in sites), default=0)
        self.b = Synapses(self.entries((widest, outputs), outputs, gen), self.device, gen)

    def draw(self, shape: tuple[int, ...], gen: torch.Generator) -> Synapses:
        return Feedback.draw(self, shape, gen)

    def send(self, error: Tensor, gen: torch.Generator | None = None) -> Callable[[str], Tensor]:
        return Feedback.send(self, error, gen)

    def matrix(self) -> Synapses | None:
        """Return None: rows that several layers share cannot learn for each of them."""
        return None
