"""Forecasts of a series: their error, and forecasts in a closed loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError


def smape(forecast: Tensor, truth: Tensor) -> float:
    r"""Return the symmetric mean absolute percentage error, 200 mean(|f - x| / (|f| + |x|)), from 0 to 200 %.

    It depends on the zero of the scale: undo a standardisation first. Where both are 0 the error is 0.

    Args:
        forecast: f, of any shape.
        truth: x, the true values, of the same shape.

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


def closed_loop_forecast(step: Callable[[Tensor], Tensor], known: Tensor, ticks: int) -> Tensor:
    """Return the forecasts of a model whose inputs are first known values and then its own outputs.

    Args:
        step: one tick of a model that keeps its own state: (B, o) values to (B, o) forecasts of the next.
        known: (K, B, o) values to begin with, K at least 1.
        ticks: how many to forecast.

    Returns:
        (ticks, B, o): the values after the known ones.

    Raises:
        NeurofaError: nothing known, or nothing to forecast.
    """
    if not len(known) or ticks < 1:
        raise NeurofaError(f"got {len(known)} known values and {ticks} ticks; expected 1 or more of both; raise them")
    for value in known:
        forecast = step(value)
    forecasts = [forecast]
    for _ in range(ticks - 1):
        forecasts.append(step(forecasts[-1]))
    return torch.stack(forecasts)
