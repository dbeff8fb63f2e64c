"""Judging forecasts of a series, and letting a model go on from its own answers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError


def smape(forecast: Tensor, truth: Tensor) -> float:
    r"""Symmetric mean absolute percentage error, 200 mean(|f - x| / (|f| + |x|)), from 0 to 200 %.

    It depends on the zero of the scale: undo a standardisation before. Where both are 0 there is no error.

    Args:
        forecast: of any shape.
        truth: of the same shape.

    Raises:
        NeurofaError: shapes that differ, or nothing to compare.

    Source: S. Makridakis, Int. J. Forecasting 9 (1993) 527, in the form that runs to 200 %.
    """
    if forecast.shape != truth.shape or not forecast.numel():
        raise NeurofaError(
            f"got a forecast of shape {tuple(forecast.shape)} for values of {tuple(truth.shape)}; expected the same,"
            " and some; cut them alike"
        )
    f, x = forecast.double(), truth.double()
    size = f.abs() + x.abs()
    return float(200 * ((f - x).abs() / torch.where(size > 0, size, 1.0)).mean())


def autonomous(step: Callable[[Tensor], Tensor], known: Tensor, ticks: int) -> Tensor:
    """Let a model run on: it first hears known values, then its own answers.

    Args:
        step: one tick of a model that keeps its own state: (B, o) values to (B, o) forecasts of the next.
        known: (K, B, o) values to begin with, K at least 1.
        ticks: how many to forecast.

    Returns:
        (ticks, B, o): what follows the known values.

    Raises:
        NeurofaError: nothing known, or nothing to forecast.
    """
    if not len(known) or ticks < 1:
        raise NeurofaError(f"got {len(known)} known values and {ticks} ticks; expected 1 or more of both; raise them")
    for value in known:
        answer = step(value)
    answers = [answer]
    for _ in range(ticks - 1):
        answers.append(step(answers[-1]))
    return torch.stack(answers)
