"""Loss and accuracy, summed over batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Score:
    """Loss and accuracy of a network over some batches."""

    loss: float | None
    """Mean over the samples, weighted as the loss weighs them; None for an empty split."""
    accuracy: float | None
    """Share of right labels, from 0 to 1; None for regression and for an empty split."""
    samples: int
    """Number of samples."""


class Tally:
    """Running sums of loss and hits, held on the compute device until :meth:`score` reads them.

    Args:
        regression: whether targets are numbers, so that there are no hits to count.
        device: the compute device.
        ignored: label that does not count; None: all count.
    """

    def __init__(self, *, regression: bool, device: torch.device, ignored: int | None = None) -> None:
        self.regression, self.ignored, self.samples = regression, ignored, 0
        # float64 holds the sum of a million float32 losses without drift
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._mass = torch.zeros((), dtype=torch.float64, device=device)
        self._hits = torch.zeros((), dtype=torch.int64, device=device)
        self._labels = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, loss: Tensor, y: Tensor, target: Tensor, mass: Tensor | None = None) -> None:
        """Add one batch.

        Args:
            loss: 0-dim, mean over the batch.
            y: (B, o) outputs, or (B, S, o) at S positions.
            target: (B,) labels, (B, S) labels or (B, o) values.
            mass: 0-dim, by which the mean is divided; None: the number of samples.
        """
        self.samples += len(y)
        own: Tensor | int = len(y) if mass is None else mass
        self._loss += loss.detach() * own
        self._mass += own
        if not self.regression:
            self._labels += target.numel() if self.ignored is None else (target != self.ignored).sum()
            self._hits += (y.argmax(-1) == target).sum()

    def score(self) -> Score:
        """Return the means so far; waits for the device."""
        if not self.samples:
            return Score(loss=None, accuracy=None, samples=0)
        accuracy = None if self.regression else int(self._hits) / max(int(self._labels), 1)
        mass = float(self._mass)
        return Score(loss=float(self._loss) / mass if mass else 0.0, accuracy=accuracy, samples=self.samples)
