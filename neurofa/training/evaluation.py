"""Evaluation of sequences without learning: outputs chunk by chunk, and the loss for a target schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from neurofa.core.events import Events
from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.core.view import State, Tick
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.sequence import CHUNK, check_sequence, chunks, initial_states
from neurofa.training.learner import forward_pass
from neurofa.training.step_types import StepResult
from neurofa.training.targets import target_schedule


class Response(NamedTuple):
    """Outputs and views of a network for one chunk of sequences."""

    first: int
    """First tick of the chunk."""
    ticks: int
    """K, number of ticks."""
    tick: Tick
    """Outputs and views of K B rows."""


@torch.no_grad()
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
    check_sequence(network, xs)
    states: Mapping[str, State] = initial_states(network, xs.shape[1])
    for first, ticks, x in chunks(network, xs, chunk):
        tick = forward_pass(network, x, gen=gen, states=states, ticks=ticks)
        states = tick.states
        yield Response(first, ticks, tick)


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
        loss: loss of the outputs of one tick.
        xs: (T, B, *input_shape) or events.
        targets: as for :meth:`~neurofa.training.learner.Learner.stream`.
        teach: first taught tick, and the one after the last; None: all.
        chunk: K, ticks of a chunk.
        gen: source of noise.
    """
    schedule = target_schedule(network, xs, targets, teach)
    like = next(network.parameters())
    value, total = like.new_zeros(()), like.new_zeros(schedule.batch, network.outputs)
    for first, ticks, tick in respond(network, xs, chunk=chunk, gen=gen):
        taught = schedule.at(first, ticks)
        if taught is None:
            continue
        rows, target = taught
        # the loss is a mean over the rows of this chunk: weighted by its number of taught ticks
        share = (rows.stop - rows.start) // schedule.batch * schedule.share
        value += loss.evaluate(tick.y[rows], target[rows]).value * share
        total += as_ticks(tick.y[rows], schedule.batch).sum(0).mul_(schedule.share)
    return StepResult(value, total)
