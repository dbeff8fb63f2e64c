"""One row of feedback for each channel, the same at every position."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from neurofa.core.description import FeedbackDescription
from neurofa.core.feedback import MatrixFeedback
from neurofa.core.plan import Site


class PooledFeedback(MatrixFeedback, name="pooled"):
    """Random matrices B_l, (C, o), with one row per channel: all positions of an image or sequence get the same signal.

    Channels are the first axis of an image (C, H, W) and the last of a sequence (S, d); each value of a vector has its
    own row, as with ``dense``.

    Args:
        gain: factor of the entries.
        distribution: ``uniform`` or ``normal``.
        values: number format of the entries; default: as drawn.
        device: device on which B lives.
        scale: ``backprop``: delivered errors are as large as those of backpropagation at initialisation; ``fixed``:
            1/sqrt(3) of the error at every layer; None: as the learner says, ``backprop`` unless it is told otherwise.
    """

    source = "feedback (o, C), a cheaper choice beside the (o, C, H, W) of Bacho and Chu 2024, arXiv 2212.07282"

    def describe(self) -> FeedbackDescription:
        return FeedbackDescription(matrix=self.b, spread="channels")

    def stack(self, sites: tuple[Site, ...]) -> int:
        at = 0
        for site in sites:
            width = site.out_shape[self._axis(site.out_shape)]
            self.slices[site.name] = slice(at, at + width)
            at += width
        return at

    @staticmethod
    def _axis(shape: tuple[int, ...]) -> int:
        return 0 if len(shape) == 3 else len(shape) - 1

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> dict[str, Tensor]:
        projected = self.project(error, gen)
        return {name: self.spread(name, projected[:, rows]) for name, rows in self.slices.items()}

    def send(self, error: Tensor, gen: torch.Generator | None = None) -> Callable[[str], Tensor]:
        projected = nn.functional.linear(error, self.b.read(gen))
        return lambda name: self.spread(name, projected[:, self.slices[name]])

    def spread(self, name: str, rows: Tensor) -> Tensor:
        shape = self.shapes[name]
        axis = self._axis(shape)
        inner = [n if i == axis else 1 for i, n in enumerate(shape)]
        return rows.view(len(rows), *inner).expand(len(rows), *shape)

    def gather(self, name: str, change: Tensor) -> Tensor:
        change = self.rows_of(name, change)
        # all P positions of a channel change alike, so that u holds the sum of their Jacobians: 1/P makes it the mean
        axis = self._axis(self.shapes[name]) + 1
        positions = change.movedim(axis, 1).flatten(2) if change.dim() > 2 else change[..., None]
        return positions[..., 0] / positions.shape[2]
