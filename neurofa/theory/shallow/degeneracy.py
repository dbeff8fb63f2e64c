"""Breaking of degeneracy: among all students without error, feedback selects those whose v has its signs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.order_parameters import OrderParameters


def signs_agree(order: OrderParameters) -> NDArray[np.bool_]:
    """Return whether every output weight has the sign of its feedback.

    w_k and v_k are the first-layer and output weights of unit k, F_k its feedback. For an odd activation g, (w_k, v_k)
    and (-w_k, -v_k) are the same unit: a student with as many units as the teacher, K = M, has K! 2^K solutions without
    error, and dfa can always reach one of the K! whose v_k has the sign of F_k. bp prefers none of them.

    Returns:
        The shape of the leading axes.
    """
    agree: NDArray[np.bool_] = (np.sign(order.v) == np.sign(order.F)).all(-1)
    return agree


def can_succeed(order: OrderParameters) -> NDArray[np.bool_]:
    """Return whether a student of rectified units can reach its teacher by dfa: at least M entries of F are positive.

    The teacher has M units with positive output weights A. The sign of a rectified unit is not free: v_k > 0 is needed
    where it takes the place of a teacher's unit, and dfa drives v_k to the sign of F_k.

    Returns:
        The shape of the leading axes.

    Raises:
        NeurofaError: teachers with output weights A <= 0, for which the condition is another.
    """
    if (order.A <= 0).any():
        raise NeurofaError("got a teacher with A <= 0; expected positive output weights; count signs yourself")
    enough: NDArray[np.bool_] = (order.F > 0).sum(-1) >= order.A.shape[-1]
    return enough


def success_probability(K: int, M: int) -> float:
    """Return the probability of M or more positive entries among K of random sign: 2^-K sum_{k>=M} C(K, k).

    Args:
        K: hidden units of the student, >= 1.
        M: hidden units of the teacher, >= 0.
    """
    from scipy.stats import binom

    return float(binom.sf(M - 1, K, 0.5))
