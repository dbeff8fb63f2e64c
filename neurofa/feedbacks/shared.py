"""One random matrix for all layers, each taking a slice."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hwmodels.device import Device
from hwmodels.format import Format
from neurofa.core.feedback import Feedback, MatrixFeedback
from neurofa.core.plan import Site
from neurofa.core.synapses import Synapses


class Shared(MatrixFeedback, name="shared"):
    """One (largest width, o) matrix; a layer of width n takes its first n rows.

    The trick of optical processors: one projection serves the whole network.

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 o).
        distribution: ``uniform`` or ``normal``.
        values: number format of the entries; default: as drawn.
        device: device on which B lives.
    """

    source = "Launay et al. 2020, arXiv 2006.12878 (sliced global feedback)"

    def __init__(
        self,
        *,
        gain: float = 1.0,
        distribution: str = "uniform",
        values: Format | str = "raw",
        device: Device | str = "digital",
    ) -> None:
        super().__init__(gain=gain, distribution=distribution, values=values, device=device)

    def _open(self, sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> None:
        self.slices |= {site.name: slice(0, site.width) for site in sites}
        widest = max((site.width for site in sites), default=0)
        self.b = Synapses(self.entries((widest, outputs), outputs, gen), self.device, gen)

    def draw(self, shape: tuple[int, ...], gen: torch.Generator) -> Synapses:
        return Feedback.draw(self, shape, gen)

    def send(self, error: Tensor, gen: torch.Generator | None = None) -> Callable[[str], Tensor]:
        return Feedback.send(self, error, gen)

    def matrix(self) -> Synapses | None:
        """Shared rows cannot follow each layer: the pathway stays fixed."""
        return None
