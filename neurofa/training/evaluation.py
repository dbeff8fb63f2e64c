"""Evaluation of sequences: outputs chunk by chunk, and the loss of a schedule of targets; nothing is learnt."""

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
    """One chunk of a network's response to sequences."""

    first: int
    """First tick."""
    ticks: int
    """K."""
    tick: Tick
    """Outputs and views of K B rows."""


@torch.no_grad()
def respond(
    network: Network, xs: Tensor | Events, *, chunk: int = CHUNK, gen: torch.Generator | None = None
) -> Iterator[Response]:
    """Return a network's response to sequences, chunk by chunk.

    Args:
        network: in the mode that is asked about.
        xs: (T, B, *input_shape) or events.
        chunk: K.
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
    """Return the mean loss over samples and taught ticks, and the mean output at these ticks, (B, o).

    Args:
        network: in the mode that is asked about.
        loss: of one tick's outputs.
        xs: (T, B, *input_shape) or events.
        targets: as for :meth:`~neurofa.training.learner.Learner.stream`.
        teach: ticks that count; None: all.
        chunk: K.
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
        share = (rows.stop - rows.start) // schedule.batch * schedule.share
        value += loss.evaluate(tick.y[rows], target[rows]).value * share
        total += as_ticks(tick.y[rows], schedule.batch).sum(0).mul_(schedule.share)
    return StepResult(value, total)
