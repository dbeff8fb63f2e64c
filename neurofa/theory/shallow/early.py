"""Law of early times: from zero weights the output weights grow along the feedback, before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.order_parameters import OrderParameters
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.units import Array


@dataclass(frozen=True, kw_only=True)
class EarlyOrder:
    """Leading order of the order parameters at small eta t, from w = v = 0."""

    R: Array
    """(..., K, M): eta t F_i r_n, r_n = g'_0 sum_m A_m T_nm s_m."""
    v: Array
    """(..., K): c F, parallel to F."""
    coefficient: Array
    """(...): c = (eta t)^2 / 2 sum_nm A_n A_m s_n T_nm s_m g'_0^2."""


def early_law(problem: Problem, start: OrderParameters, t: float) -> EarlyOrder:
    """Return overlaps and output weights at small times by the law of the align phase of direct feedback alignment.

    At w = v = 0 the error is the teacher's output and g'(0) = g'_0 for every unit, so that every w_k moves along one
    common direction, times F_k. With <g(nu_m) nu_n> = s_m T_nm (Stein's lemma, s_m = <g'(nu_m)>),

        R_in = eta t F_i g'_0 sum_m A_m s_m T_nm,

    and a unit with small w responds with g'_0 lambda, with which the error is correlated:

        v_i = (eta t)^2 / 2 F_i g'_0^2 sum_nm A_n s_n T_nm s_m A_m.

    erf: g'_0 = sqrt(2/pi), s_m = sqrt(2/pi) / sqrt(1 + T_mm); for T = I, R_in = eta t (sqrt 2/pi) F_i A_n and
    v_i = (eta t)^2 |A|^2 F_i / pi^2. Linear: g'_0 = s_m = 1. Under bp nothing moves from w = v = 0. Label noise and
    hardware noise of zero mean leave both means as they are; read noise reduces the slope of erf units to
    <g'(s_r zeta)> = g'_0 / sqrt(1 + s_r^2), once in the first law and twice in the second.

    Args:
        problem: dfa, erf or linear.
        start: T, A and F; leading axes are free.
        t: steps / N; the next order is smaller by eta t.

    Raises:
        NeurofaError: another rule or activation.
    """
    if problem.rule != "dfa" or problem.activation not in ("erf", "linear"):
        raise NeurofaError(
            f"got {problem.rule} with {problem.activation} units at early times; expected dfa with erf or linear, since"
            " the law needs a smooth start that is no fixed point; solve or simulate it"
        )
    variances = np.diagonal(start.T, axis1=-2, axis2=-1)
    if problem.activation == "erf":
        # g'_0 as read with noise, and s_m of Stein's lemma
        slope, s = (2 / np.pi / (1 + problem.hardware.read_noise**2)) ** 0.5, np.sqrt(2 / np.pi / (1 + variances))
    else:
        slope, s = 1.0, np.ones_like(variances)
    reach = np.einsum("...nm,...m,...m->...n", start.T, s, start.A)
    now = problem.rate * t * slope
    coefficient = now**2 / 2 * np.einsum("...n,...n,...n->...", start.A, s, reach)
    R = now * start.F[..., :, None] * reach[..., None, :]
    return EarlyOrder(R=R, v=coefficient[..., None] * start.F, coefficient=coefficient)
