"""What a network answers to sequences, chunk by chunk and without learning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from neurofa.core.events import Events
from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.core.view import State, Tick
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.sequence import check_sequence, chunks, initial_states
from neurofa.training.step_types import StepResult
from neurofa.training.targets import TargetSchedule


class ForwardPass(Protocol):
    """Computes a chunk of ticks: :func:`neurofa.training.learner.forward_pass`."""

    def __call__(
        self,
        network: Network,
        x: Tensor,
        *,
        gen: torch.Generator | None = None,
        states: Mapping[str, State] | None = None,
        ticks: int | None = None,
    ) -> Tick:
        """Return the outputs of K ticks with the states after the last one."""


class Response(NamedTuple):
    """Outputs and views of a network for one chunk of sequences."""

    first: int
    """First tick of the chunk."""
    ticks: int
    """K, number of ticks."""
    tick: Tick
    """Outputs and views of K B rows."""


@torch.no_grad()
def responses(
    forward: ForwardPass, network: Network, xs: Tensor | Events, *, chunk: int, gen: torch.Generator | None
) -> Iterator[Response]:
    """Yield the outputs and views of a network for a batch of sequences, chunk by chunk.

    Args:
        forward: computes a chunk.
        network: in training or evaluation mode, which is not changed.
        xs: (T, B, *input_shape) or events.
        chunk: K, ticks of a chunk.
        gen: source of noise.
    """
    check_sequence(network, xs)
    states: Mapping[str, State] = initial_states(network, xs.shape[1])
    for first, ticks, x in chunks(network, xs, chunk):
        tick = forward(network, x, gen=gen, states=states, ticks=ticks)
        states = tick.states
        yield Response(first, ticks, tick)


def outputs_of_ticks(parts: Iterator[Response], batch: int) -> Tensor:
    """Return the outputs of all ticks, (T, B, o).

    Args:
        parts: of :func:`responses`.
        batch: B.
    """
    return torch.cat([as_ticks(part.tick.y, batch) for part in parts])


def loss_of_sequence(parts: Iterator[Response], loss: Loss, schedule: TargetSchedule, like: Tensor) -> StepResult:
    """Return the loss of sequences, and the mean output at the taught ticks.

    Args:
        parts: of :func:`responses`.
        loss: of the run.
        schedule: targets and taught ticks.
        like: outputs have its dtype and device.
    """
    if loss.whole:  # only outputs are kept, which are few numbers
        y = outputs_of_ticks(parts, schedule.batch)
        taught = schedule.at(0, len(y))
        assert taught is not None
        rows, target = taught
        result = loss.of_ticks(y.flatten(0, 1)[rows], target[rows], schedule.batch)
        return StepResult(result.value, y[schedule.begin : schedule.end].mean(0))
    value, total = like.new_zeros(()), None
    for first, ticks, tick in parts:
        taught = schedule.at(first, ticks)
        if taught is None:
            continue
        rows, target = taught
        # the loss is a mean over the rows of this chunk: weighted by its number of taught ticks
        share = (rows.stop - rows.start) // schedule.batch * schedule.share
        value += loss.evaluate(tick.y[rows], target[rows]).value * share
        own = as_ticks(tick.y[rows], schedule.batch).sum(0).mul_(schedule.share)
        total = own if total is None else total + own
    assert total is not None
    return StepResult(value, total)
