"""One random matrix for all layers; each layer uses its first rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurofa.core.description import FeedbackDescription
from neurofa.core.feedback import Feedback, MatrixFeedback
from neurofa.core.plan import Site
from neurofa.core.synapses import Synapses


class SharedFeedback(MatrixFeedback, name="shared"):
    """One random matrix B, (largest width, o), for all layers; a layer of width n takes its first n rows.

    Optical processors work in this way: one projection sends the error to all layers. Each layer scales its signal by a
    factor of its own.

    Args:
        gain: factor of the entries.
        distribution: ``uniform`` or ``normal``.
        values: number format of the entries; default: as drawn.
        device: device on which B lives.
        scale: ``backprop``: delivered errors are as large as those of backpropagation at initialisation; ``fixed``:
            1/sqrt(3) of the error at every layer; None: as the learner says, ``backprop`` unless it is told otherwise.
    """

    source = "Launay et al. 2020, arXiv 2006.12878 (sliced global feedback)"

    def _open(self, sites: tuple[Site, ...], outputs: int, gen: torch.Generator) -> None:
        self.slices |= {site.name: slice(0, site.width) for site in sites}
        widest = max((site.width for site in sites), default=0)
        self.b = Synapses(self.entries((widest, outputs), outputs, gen), self.device, gen)

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> dict[str, Tensor]:
        projected = self.project(error, gen)
        return {name: self.spread(name, projected[:, part]) for name, part in self.slices.items()}

    def spread(self, name: str, rows: Tensor) -> Tensor:
        # layers share the rows, so that each scales what it takes of the projected error
        factor = self.factors[name]
        return super().spread(name, rows if factor == 1 else rows * factor)

    def describe(self) -> FeedbackDescription:
        return FeedbackDescription(matrix=self.b, behind=self.factors)

    def draw(self, shape: tuple[int, ...], gen: torch.Generator) -> Synapses:
        return Feedback.draw(self, shape, gen)

    def send(self, error: Tensor, gen: torch.Generator | None = None) -> Callable[[str], Tensor]:
        return Feedback.send(self, error, gen)

    def matrix(self) -> Synapses | None:
        """Return None: rows that several layers share cannot learn for each of them."""
        return None
