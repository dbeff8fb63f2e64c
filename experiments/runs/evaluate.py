"""Loss and accuracy of a network on one split of a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.data import Dataset, Sequences
from neurofa.core.loss import Loss
from neurofa.core.network import Network, evaluating
from neurofa.core.randomness import generator
from neurofa.spiking.sequence import CHUNK
from neurofa.training.evaluation import sequence_loss
from neurofa.training.finite import NotFiniteError
from neurofa.training.learner import loss_and_teaching

BATCH = 500
"""Samples in a batch of an evaluation; without gradients a batch needs little memory."""
SEQUENCES = 100
"""The same for sequences, of which a batch holds all ticks."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Loss and accuracy of a network on one split of a data set."""

    loss: float | None
    """Mean over the samples, weighted as the loss weighs them; None for an empty split."""
    accuracy: float | None
    """Share of right labels, from 0 to 1; None for regression and for an empty split."""
    samples: int
    """Number of samples in the split."""


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


@torch.no_grad()
def evaluate_split(
    network: Network,
    dataset: Dataset | Sequences,
    where: str,
    loss: Loss,
    *,
    seed: int = 0,
    chunk: int = CHUNK,
    most: int | None = None,
) -> Score:
    """Return loss and accuracy of a network on one split; its training mode and the run's generators do not change.

    Args:
        network: the network, on the compute device of ``dataset``.
        dataset: the data.
        where: ``train``, ``validation`` or ``test``.
        loss: the loss that is averaged.
        seed: seed of the read noise of the network's device.
        chunk: ticks of a sequence that are computed at once.
        most: samples after which no further batch is evaluated; None: the whole split.

    Raises:
        NotFiniteError: the loss is not finite.
    """
    gen = generator(seed, "evaluate", where, device=dataset.compute)
    tally = Tally(regression=dataset.regression, device=dataset.compute, ignored=loss.ignore_index)
    with evaluating(network):
        if isinstance(dataset, Sequences):
            for xs, target in dataset.batches(where, SEQUENCES):
                value, y = sequence_loss(network, loss, xs, target, teach=dataset.teach, chunk=chunk, gen=gen)
                tally.add(value, y, target)
                if most is not None and tally.samples >= most:
                    break
        else:
            for x, target in dataset.batches(where, BATCH):
                y = network(x, gen)
                result = loss_and_teaching(loss, y, target)[0]
                tally.add(result.value, y, target, result.mass)
                if most is not None and tally.samples >= most:
                    break
    score = tally.score()
    if score.loss is not None and not math.isfinite(score.loss):
        raise NotFiniteError(
            f"got a {where} loss of {score.loss}; expected a finite one; lower the learning rate or the feedback gain"
        )
    return score
