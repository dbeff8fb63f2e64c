"""Courses of the learning rate: stateless functions of the time, so that a resumed run needs nothing but its epoch."""

from __future__ import annotations

import math
from collections.abc import Callable

from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

Schedule = Callable[[float, int], float]
"""From the time in epochs (with its fraction) and the number of epochs to the multiplier of the learning rate."""


@recipe("schedule", "constant")
def constant(*, warmup: float = 0.0) -> Schedule:
    """The learning rate as it was given, after a linear rise over ``warmup`` epochs."""
    _not_negative(warmup)
    return lambda t, epochs: _rise(t, warmup)  # noqa: ARG005


@recipe("schedule", "cosine", source="Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5 without restarts")
def cosine(*, warmup: float = 0.0, floor: float = 0.0) -> Schedule:
    """m(t) = floor + (1 - floor) (1 + cos(pi t / epochs)) / 2, after a linear rise over ``warmup`` epochs."""
    _not_negative(warmup)
    if not 0 <= floor <= 1:
        raise NeurofaError(f"got cosine(floor={floor}); expected a number from 0 to 1; change floor")

    def multiplier(t: float, epochs: int) -> float:
        if warmup >= epochs:
            raise NeurofaError(f"got warmup={warmup} for {epochs} epochs; expected fewer; lower warmup")
        if t < warmup:
            return _rise(t, warmup)
        share = (t - warmup) / (epochs - warmup)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))

    return multiplier


@recipe("schedule", "linear")
def linear(*, warmup: float = 0.0) -> Schedule:
    """A straight fall to zero at the last epoch, after a linear rise over ``warmup`` epochs."""
    _not_negative(warmup)

    def multiplier(t: float, epochs: int) -> float:
        if warmup >= epochs:
            raise NeurofaError(f"got warmup={warmup} for {epochs} epochs; expected fewer; lower warmup")
        return _rise(t, warmup) if t < warmup else 1 - (t - warmup) / (epochs - warmup)

    return multiplier


@recipe("schedule", "step")
def step(*, every: float = 10.0, factor: float = 0.1) -> Schedule:
    """m(t) = factor^floor(t / every): a drop by ``factor`` every so many epochs."""
    if not every > 0:
        raise NeurofaError(f"got step(every={every}); expected epochs above 0; change every")
    _factor(factor)
    return lambda t, epochs: factor ** math.floor(t / every)  # noqa: ARG005


@recipe("schedule", "exponential")
def exponential(*, factor: float = 0.95) -> Schedule:
    """m(t) = factor^t: a smooth fall by ``factor`` an epoch."""
    _factor(factor)
    return lambda t, epochs: factor**t  # noqa: ARG005


def _rise(t: float, warmup: float) -> float:
    return t / warmup if t < warmup else 1.0


def _factor(factor: float) -> None:
    if not factor > 0:
        raise NeurofaError(f"got factor={factor}; expected a positive number; change factor")


def _not_negative(warmup: float) -> None:
    if not warmup >= 0:
        raise NeurofaError(f"got warmup={warmup}; expected 0 epochs or more; change warmup")
