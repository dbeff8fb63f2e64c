"""Numerical solution of the equations of low-rank feedback."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from hwmodels.errors import NeurofaError
from neurofa.theory.lowrank.equations import Plasticity, Weights, velocity
from neurofa.theory.moments import Moments

MAX_EVALUATIONS = 200_000
"""Evaluations of the right-hand sides after which the integration is given up."""

Array = NDArray[np.float64]


def solve_weights(
    moments: Moments, start: Weights, rule: Plasticity, times: Sequence[float], *, rtol: float = 1e-7
) -> list[Weights]:
    """Return the solution of the equations of low-rank feedback, by a Runge-Kutta method of order 8 (scipy's DOP853).

    Args:
        moments: of the task.
        start: weights at time 0.
        rule: equations and rates.
        times: times of the result, increasing, not negative.
        rtol: relative tolerance of a step; the absolute one is a thousandth of it.

    Returns:
        Weights at each of the times, float64.

    Raises:
        NeurofaError: times that do not increase, a solution that grows without bound, or one that is too stiff.
    """
    from scipy.integrate import solve_ivp

    if not times or times[0] < 0 or any(b <= a for a, b in pairwise(times)):
        raise NeurofaError("got times that do not increase; expected one or more, increasing, not negative; sort them")
    initial, span = start.to(torch.float64), (0.0, float(times[-1]))
    tolerances = {"rtol": rtol, "atol": rtol / 1000}
    evaluations = 0

    def slope(time: float, flat: Array) -> Array:
        nonlocal evaluations
        evaluations += 1
        if evaluations > MAX_EVALUATIONS:
            raise NeurofaError(
                f"got no solution beyond t = {time:.3g} after {MAX_EVALUATIONS} evaluations; expected moderate rates;"
                " lower them"
            )
        return _to_vector(velocity(moments, _from_vector(flat, initial), rule, time))

    # a solution that diverges overflows on its way; it is refused below
    with np.errstate(over="ignore", invalid="ignore"):
        result = solve_ivp(slope, span, _to_vector(initial), method="DOP853", t_eval=list(times), **tolerances)
    if not result.success or not np.isfinite(result.y).all():
        raise NeurofaError(
            f"got no solution ({result.message}); expected bounded weights; take smaller rates or more decay"
        )
    return [_from_vector(np.ascontiguousarray(column), initial) for column in result.y.T]


def _to_vector(weights: Weights) -> Array:
    flat: Array = torch.cat([matrix.flatten() for matrix in weights.matrices()]).numpy()
    return flat


def _from_vector(flat: Array, like: Weights) -> Weights:
    """Return the weights in a vector, with the shapes of ``like``; they share its memory."""
    shapes = [matrix.shape for matrix in like.matrices()]
    pieces = torch.split_with_sizes(torch.from_numpy(flat), [shape.numel() for shape in shapes])
    w1, w2, q, p = (piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True))
    return Weights(w1=w1, w2=w2, q=q, p=p)
