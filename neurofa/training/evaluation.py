"""Evaluation of sequences without learning: outputs chunk by chunk, and the loss for a target schedule."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neurofa.core.events import Events
from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.spiking.sequence import CHUNK
from neurofa.training.answers import Response, loss_of_sequence, responses
from neurofa.training.learner import forward_pass
from neurofa.training.step_types import StepResult
from neurofa.training.targets import target_schedule


def respond(
    network: Network, xs: Tensor | Events, *, chunk: int = CHUNK, gen: torch.Generator | None = None
) -> Iterator[Response]:
    """Yield the outputs and views of a network for a batch of sequences, chunk by chunk, without learning.

    Args:
        network: in training or evaluation mode, which is not changed.
        xs: (T, B, *input_shape) or events.
        chunk: K, ticks of a chunk.
        gen: source of noise.
    """
    return responses(forward_pass, network, xs, chunk=chunk, gen=gen)


@torch.no_grad()
def sequence_loss(
    network: Network,
    loss: Loss,
    xs: Tensor | Events,
    targets: Tensor,
    *,
    teach: tuple[int, int] | None = None,
    chunk: int = CHUNK,
    gen: torch.Generator | None = None,
) -> StepResult:
    """Return the mean loss over samples and taught ticks, and the mean output at these ticks, without learning.

    Args:
        network: in training or evaluation mode, which is not changed.
        loss: loss of the outputs of one tick, or of the whole sequence (``rate``).
        xs: (T, B, *input_shape) or events.
        targets: as for :meth:`~neurofa.training.learner.Learner.stream`.
        teach: first taught tick, and the one after the last; None: all.
        chunk: K, ticks of a chunk.
        gen: source of noise.
    """
    schedule = target_schedule(network, xs, targets, teach, whole=loss.whole)
    return loss_of_sequence(respond(network, xs, chunk=chunk, gen=gen), loss, schedule, next(network.parameters()))
