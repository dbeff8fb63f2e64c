"""Differential equations of a linear network that learns from feedback of low rank, in second moments.

A network y^ = W2 W1 x learns y by the error R = S^yx - W2 W1 S^xx, with second moments S^yx = E y x^T and so on (white
inputs: S^xx = I). The error reaches W1 through Q P instead of W2^T:

    dW2/dt = R W1^T - λ W2                  dW1/dt = Q P R - λ W1
    dQ/dt = g_q W1 R^T P^T - μ Q            (``kp``)
    dQ/dt = g_q (W2^T - Q P) P^T            (``track``)
    dP/dt = g_p P C (I - P^T P) - μ P       (Oja; C = S^yy: ``labels``, or S^ee: ``errors``)
    dP/dt = g_p Q^T (W2^T - Q P)            (``track``)

with W1 (k, n), W2 (m, k), Q (k, r), P (r, m); time is learning rate times steps. ``kp`` and Oja are the rule
of the first texts (v1-v3, RAF), ``track`` is that of v4.

Source: Hanut and Kadmon 2025, arXiv 2502.20580. How sure each line is: the forward lines are the paper's Eq. 5 as
others quote it, and with ``track`` they are what the first author's script does; Oja on labels is Eq. 9 in the form of
that author's code; ``kp`` of Q and Oja on errors are deduced from what the code does in deep networks. With Q P = W2^T
the forward lines are those of Saxe, McClelland and Ganguli 2014, arXiv 1312.6120.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.theory.moments import Moments

Q_RULES = ("fixed", "kp", "track")
P_RULES = ("fixed", "labels", "errors", "track")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of both layers, y^ = W2 W1 x, and both factors of the feedback Q P."""

    w1: Tensor
    """(k, n)."""
    w2: Tensor
    """(m, k)."""
    q: Tensor
    """(k, r)."""
    p: Tensor
    """(r, m)."""

    def matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return W1, W2, Q, P."""
        return self.w1, self.w2, self.q, self.p

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Weights:
        """Return the same weights in another precision and on another device."""
        w1, w2, q, p = (matrix.to(device, dtype) for matrix in self.matrices())
        return Weights(w1=w1, w2=w2, q=q, p=p)


@dataclass(frozen=True, kw_only=True)
class Plasticity:
    """Equations by which the feedback factors Q and P learn (see above), and their rates.

    Raises:
        NeurofaError: an unknown equation or a negative rate.
    """

    q: str = "kp"
    """``fixed``, ``kp`` or ``track``."""
    p: str = "labels"
    """``fixed``, ``labels``, ``errors`` or ``track``."""
    transport: bool = False
    """Whether W2^T itself returns the error instead of Q P: backpropagation."""
    decay: float = 0.0
    """λ, weight decay of W1 and W2, per unit of time."""
    decay_back: float = 0.0
    """μ, weight decay of Q under ``kp`` and of P under Oja, per unit of time."""
    rate_q: float = 1.0
    """g_q at time 0."""
    rate_p: float = 1.0
    """g_p at time 0."""
    fading: float = 0.0
    """Rate at which g_q and g_p fall, as exp(-fading t)."""

    def __post_init__(self) -> None:
        for name, rule, known in (("q", self.q, Q_RULES), ("p", self.p, P_RULES)):
            if rule not in known:
                raise NeurofaError(f"got Plasticity({name}={rule}); expected {', '.join(known)}; choose one")
        for name in ("decay", "decay_back", "rate_q", "rate_p", "fading"):
            if not getattr(self, name) >= 0:
                raise NeurofaError(
                    f"got Plasticity({name}={getattr(self, name)}); expected 0 or more; change the {name}"
                )

    def gains(self, time: float) -> tuple[float, float]:
        """Return the rates g_q and g_p at one time."""
        left = math.exp(-self.fading * time)
        return self.rate_q * left, self.rate_p * left


def velocity(moments: Moments, weights: Weights, rule: Plasticity, time: float) -> Weights:
    """Return the time derivatives of W1, W2, Q and P by the equations above.

    Args:
        moments: of the task.
        weights: at this time, float64.
        rule: equations and rates.
        time: learning rate times steps.

    Returns:
        The time derivative of every matrix.
    """
    w1, w2, q, p = weights.matrices()
    residual = moments.yx - w2 @ w1 @ moments.xx
    # the return path carries P R, which has r rows
    teaching = w2.t() @ residual if rule.transport else q @ (p @ residual)
    gain_q, gain_p = rule.gains(time)
    dq, dp = torch.zeros_like(q), torch.zeros_like(p)
    if rule.q == "kp":
        dq = gain_q * w1 @ (p @ residual).t() - rule.decay_back * q
    elif rule.q == "track":
        dq = gain_q * (w2.t() - q @ p) @ p.t()
    if rule.p in ("labels", "errors"):
        projected = p @ (moments.yy if rule.p == "labels" else error_moments(moments, w2 @ w1))
        dp = gain_p * (projected - projected @ p.t() @ p) - rule.decay_back * p
    elif rule.p == "track":
        dp = gain_p * q.t() @ (w2.t() - q @ p)
    return Weights(w1=teaching - rule.decay * w1, w2=residual @ w1.t() - rule.decay * w2, q=dq, p=dp)


def error_moments(moments: Moments, product: Tensor) -> Tensor:
    """Return the second moment S^ee of the errors e = y - A x, (m, m).

    Args:
        moments: of the task.
        product: A = W2 W1, (m, n).
    """
    cross = product @ moments.yx.t()
    return moments.yy - cross - cross.t() + product @ moments.xx @ product.t()


def mode_strengths(moments: Moments, path: Sequence[Weights]) -> Tensor:
    """Return how far each mode j of the task is learnt, sigma_j = (U^T W2 W1 V)_jj / s_j: 0 at first, 1 if learnt.

    Args:
        moments: of the task, with its modes S^yx = U diag(s) V^T.
        path: weights at some times.

    Returns:
        (times, modes), float64.
    """
    u, s, vt = moments.modes()
    return torch.stack([((u.t() @ w.w2.double()) * (vt @ w.w1.double().t())).sum(1) / s for w in path])


def reachable_strengths(moments: Moments, p: Tensor) -> Tensor:
    """Return the mode strengths that a fixed P leads to from small weights, for white inputs and little decay.

    W1 - W1(0) e^(-λt) stays in the row space of P S^yx, whatever Q does, and W2 then regresses on it: with the
    projection Pi on that space, W2 W1 -> S^yx Pi and sigma_j -> |Pi v_j|^2. They add up to the rank of P S^yx:
    P = U_r^T reaches r modes and nothing else; a P across the modes leaves all of them unfinished.

    Args:
        moments: of the task, S^xx = I.
        p: (r, m).

    Returns:
        (modes,), each from 0 to 1.

    Source: deduced from the forward equations; the paper says only that r < m leaves the solution undetermined.
    """
    _, _, vt = moments.modes()
    _, size, rows = torch.linalg.svd(p.double() @ moments.yx, full_matrices=False)
    # singular values below are rounding: repeated rows of P span no further direction
    rows = rows[size > size.max() * 1e-10]
    strength: Tensor = (rows @ vt.t()).square().sum(0)
    return strength
