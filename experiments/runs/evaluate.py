"""Loss and accuracy of a network on one split of a data set."""

from __future__ import annotations

import math

import torch

from experiments.data import Dataset, Sequences
from neurofa.core.loss import Loss
from neurofa.core.network import Network, evaluating
from neurofa.core.randomness import generator
from neurofa.spiking.sequence import CHUNK
from neurofa.training.evaluation import sequence_loss
from neurofa.training.finite import NotFiniteError
from neurofa.training.learner import loss_and_teaching
from neurofa.training.loop.tally import Score, Tally

BATCH = 500
"""Samples in a batch of an evaluation; without gradients a batch needs little memory."""
SEQUENCES = 100
"""The same for sequences, of which a batch holds all ticks."""


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
