"""Schedules of the learning rate, as functions of the time.

torch's schedulers count steps and hold a state; these have none, so that a resumed run needs its epoch alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

Schedule = Callable[[float, int], float]
"""From the time in epochs (with its fraction) and the number of epochs to the multiplier of the learning rate."""


@recipe("schedule", "constant")
def constant_schedule(*, warmup: float = 0.0) -> Schedule:
    """Keep the learning rate: m(t) = 1, after a linear rise over ``warmup`` epochs.

    m is the multiplier of the optimizer's learning rate and t the time in epochs, here and in the other schedules.
    """
    _check_warmup(warmup)
    return lambda t, epochs: t / warmup if t < warmup else 1.0  # noqa: ARG005


@recipe("schedule", "cosine", source="Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5 without restarts")
def cosine_schedule(*, warmup: float = 0.0, floor: float = 0.0) -> Schedule:
    """Lower the learning rate along half a cosine, m(t) = floor + (1 - floor) (1 + cos(pi t / epochs)) / 2.

    Before, it rises linearly over ``warmup`` epochs; the cosine then takes the epochs that are left.
    """
    if not 0 <= floor <= 1:
        raise NeurofaError(f"got cosine(floor={floor}); expected a number from 0 to 1; change floor")
    return _after_rise(warmup, lambda share: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


@recipe("schedule", "linear")
def linear_schedule(*, warmup: float = 0.0) -> Schedule:
    """Lower the learning rate linearly to zero, m(t) = 1 - t / epochs.

    Before, it rises linearly over ``warmup`` epochs; the fall then takes the epochs that are left.
    """
    return _after_rise(warmup, lambda share: 1 - share)


@recipe("schedule", "step")
def step_schedule(*, every: float = 10.0, factor: float = 0.1) -> Schedule:
    """Multiply the learning rate by ``factor`` after every ``every`` epochs: m(t) = factor^floor(t / every)."""
    if not every > 0:
        raise NeurofaError(f"got step(every={every}); expected epochs above 0; change every")
    _check_factor(factor)
    return lambda t, epochs: factor ** math.floor(t / every)  # noqa: ARG005


@recipe("schedule", "exponential")
def exponential_schedule(*, factor: float = 0.95) -> Schedule:
    """Multiply the learning rate by ``factor`` in every epoch, smoothly: m(t) = factor^t."""
    _check_factor(factor)
    return lambda t, epochs: factor**t  # noqa: ARG005


def _after_rise(warmup: float, fall: Callable[[float], float]) -> Schedule:
    """Return a linear rise over ``warmup`` epochs, followed by a fall over the share of the epochs that are left."""
    _check_warmup(warmup)

    def multiplier(t: float, epochs: int) -> float:
        if warmup >= epochs:
            raise NeurofaError(f"got warmup={warmup} for {epochs} epochs; expected fewer; lower warmup")
        return t / warmup if t < warmup else fall((t - warmup) / (epochs - warmup))

    return multiplier


def _check_warmup(warmup: float) -> None:
    if not warmup >= 0:
        raise NeurofaError(f"got warmup={warmup}; expected 0 epochs or more; change warmup")


def _check_factor(factor: float) -> None:
    if not factor > 0:
        raise NeurofaError(f"got factor={factor}; expected a positive number; change factor")
