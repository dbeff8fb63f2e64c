"""Deep linear networks with feedback of low rank: their learning as differential equations of second moments.

A network y^ = W2 W1 x learns y by the error R = S^yx - W2 W1 S^xx, with second moments S^yx = E y x^T and so on (white
inputs: S^xx = I). The error reaches W1 through Q P instead of W2^T:

    dW2/dt = R W1^T - λ W2                  dW1/dt = Q P R - λ W1
    dQ/dt = g_q W1 R^T P^T - μ Q            (``kp``)
    dQ/dt = g_q (W2^T - Q P) P^T            (``track``)
    dP/dt = g_p P C (I - P^T P) - μ P       (Oja; C = S^yy: ``labels``, or S^ee: ``errors``)
    dP/dt = g_p Q^T (W2^T - Q P)            (``track``)

with W1 (k, n), W2 (m, k), Q (k, r), P (r, m); time is learning rate times steps. ``kp`` and Oja are the rule
of the first texts (v1-v3, RAF), ``track`` is that of v4.

Source: Hanut and Kadmon 2025, arXiv 2502.20580. How sure each line is: the forward lines are the text's Eq. 5 as others
quote it, and with ``track`` they are what the first author's script does; Oja on labels is Eq. 9 in the form of that
author's code; ``kp`` of Q and Oja on errors are deduced from what the code does in deep networks. With Q P = W2^T the
forward lines are those of Saxe, McClelland and Ganguli 2014, arXiv 1312.6120.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError

Q_RULES = ("fixed", "kp", "track")
P_RULES = ("fixed", "labels", "errors", "track")
MOST = 200_000
"""Evaluations of the right-hand sides, after which a solution is given up."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Second moments of a task, float64."""

    yx: Tensor
    """(m, n), E y x^T."""
    xx: Tensor
    """(n, n), E x x^T."""
    yy: Tensor
    """(m, m), E y y^T."""

    @classmethod
    def white(cls, teacher: Tensor) -> Moments:
        """Of y = A x with white x; ``teacher`` is A, (m, n)."""
        a = teacher.double()
        return cls(yx=a, xx=torch.eye(a.shape[1], dtype=torch.float64), yy=a @ a.t())

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Moments:
        """Of samples x (N, n) and y (N, m)."""
        x, y = x.double(), y.double()
        return cls(yx=y.t() @ x / len(x), xx=x.t() @ x / len(x), yy=y.t() @ y / len(x))

    def modes(self) -> tuple[Tensor, Tensor, Tensor]:
        """S^yx = U diag(s) V^T: U (m, min(m, n)), s decreasing, V^T (min(m, n), n)."""
        u, s, vt = torch.linalg.svd(self.yx, full_matrices=False)
        return u, s, vt


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Both layers and both factors of the feedback."""

    w1: Tensor
    """(k, n)."""
    w2: Tensor
    """(m, k)."""
    q: Tensor
    """(k, r)."""
    p: Tensor
    """(r, m)."""

    def all(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W1, W2, Q, P."""
        return self.w1, self.w2, self.q, self.p

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Weights:
        """The same weights in another precision and place."""
        w1, w2, q, p = (part.to(device, dtype) for part in self.all())
        return Weights(w1=w1, w2=w2, q=q, p=p)


@dataclass(frozen=True, kw_only=True)
class Plasticity:
    """Which equations hold, and how fast.

    Raises:
        NeurofaError: an unknown equation or a negative rate.
    """

    q: str = "kp"
    """``fixed``, ``kp`` or ``track``."""
    p: str = "labels"
    """``fixed``, ``labels``, ``errors`` or ``track``."""
    transport: bool = False
    """W2^T itself instead of Q P: backpropagation."""
    decay: float = 0.0
    """λ, of W1 and W2, per unit of time."""
    decay_back: float = 0.0
    """μ, of Q under kp and of P under Oja, per unit of time."""
    rate_q: float = 1.0
    """g_q at time 0."""
    rate_p: float = 1.0
    """g_p at time 0."""
    fading: float = 0.0
    """g_q and g_p fall as exp(-fading t)."""

    def __post_init__(self) -> None:
        for name, got, known in (("q", self.q, Q_RULES), ("p", self.p, P_RULES)):
            if got not in known:
                raise NeurofaError(f"got Plasticity({name}={got}); expected {', '.join(known)}; choose one")
        for name in ("decay", "decay_back", "rate_q", "rate_p", "fading"):
            if not getattr(self, name) >= 0:
                raise NeurofaError(
                    f"got Plasticity({name}={getattr(self, name)}); expected 0 or more; change the {name}"
                )

    def gains(self, time: float) -> tuple[float, float]:
        """g_q and g_p at one time."""
        left = math.exp(-self.fading * time)
        return self.rate_q * left, self.rate_p * left


def velocity(moments: Moments, weights: Weights, rule: Plasticity, time: float) -> Weights:
    """The right-hand sides of the equations above.

    Args:
        moments: of the task.
        weights: at this time, float64.
        rule: which equations.
        time: learning rate times steps.

    ReturnWeights:
        The derivative of every matrix.
    """
    w1, w2, q, p = weights.all()
    residual = moments.yx - w2 @ w1 @ moments.xx
    down = w2.t() @ residual if rule.transport else q @ (p @ residual)
    gain_q, gain_p = rule.gains(time)
    dq, dp = torch.zeros_like(q), torch.zeros_like(p)
    if rule.q == "kp":
        dq = gain_q * w1 @ (p @ residual).t() - rule.decay_back * q
    elif rule.q == "track":
        dq = gain_q * (w2.t() - q @ p) @ p.t()
    if rule.p in ("labels", "errors"):
        seen = p @ (moments.yy if rule.p == "labels" else error_moments(moments, w2 @ w1))
        dp = gain_p * (seen - seen @ p.t() @ p) - rule.decay_back * p
    elif rule.p == "track":
        dp = gain_p * q.t() @ (w2.t() - q @ p)
    return Weights(w1=down - rule.decay * w1, w2=residual @ w1.t() - rule.decay * w2, q=dq, p=dp)


def error_moments(moments: Moments, product: Tensor) -> Tensor:
    """S^ee of e = y - A x with A = W2 W1, (m, m)."""
    cross = product @ moments.yx.t()
    return moments.yy - cross - cross.t() + product @ moments.xx @ product.t()


def solve(
    moments: Moments, start: Weights, rule: Plasticity, times: Sequence[float], *, rtol: float = 1e-7
) -> list[Weights]:
    """Integrate the equations with an embedded Runge-Kutta method of order 8 (scipy's DOP853).

    Args:
        moments: of the task.
        start: weights at time 0.
        rule: which equations.
        times: when to look, increasing, not negative.
        rtol: relative tolerance of a step; the absolute one is a thousandth of it.

    ReturnWeights:
        Weights at each of the times, float64.

    Raises:
        NeurofaError: times that do not increase, a solution that grows without bound, or one that is too stiff.
    """
    import numpy as np
    from scipy.integrate import solve_ivp

    if not times or times[0] < 0 or any(b <= a for a, b in pairwise(times)):
        raise NeurofaError("got times that do not increase; expected one or more, increasing, not negative; sort them")
    parts = start.to(torch.float64).all()

    def whole(flat: Any) -> Weights:
        pieces = torch.split_with_sizes(torch.from_numpy(flat), [part.numel() for part in parts])
        w1, w2, q, p = (piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True))
        return Weights(w1=w1, w2=w2, q=q, p=p)

    evaluations = 0

    def slope(time: float, flat: Any) -> Any:
        nonlocal evaluations
        evaluations += 1
        if evaluations > MOST:
            raise NeurofaError(
                f"got no solution beyond t = {time:.3g} after {MOST} evaluations; expected moderate rates; lower them"
            )
        return torch.cat([part.flatten() for part in velocity(moments, whole(flat), rule, time).all()]).numpy()

    initial = torch.cat([part.flatten() for part in parts]).numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        found = solve_ivp(
            slope, (0.0, float(times[-1])), initial, method="DOP853", t_eval=list(times), rtol=rtol, atol=rtol / 1000
        )
    if not found.success or not np.isfinite(found.y).all():
        raise NeurofaError(
            f"got no solution ({found.message}); expected bounded weights; take smaller rates or more decay"
        )
    return [whole(np.ascontiguousarray(column)) for column in found.y.T]


def strengths(moments: Moments, path: Sequence[Weights]) -> Tensor:
    """Mode strengths sigma_j = (U^T W2 W1 V)_jj / s_j: 1 where a mode of the task is learnt, 0 where it is not.

    Args:
        moments: of the task whose modes are meant.
        path: weights at some times.

    ReturnWeights:
        (times, modes), float64.
    """
    u, s, vt = moments.modes()
    found = [((u.t() @ w.w2.double()) * (vt @ w.w1.double().t())).sum(1) / s for w in path]
    return torch.stack(found)


def reach(moments: Moments, p: Tensor) -> Tensor:
    """Mode strengths that a fixed P leads to from small weights, for white inputs and little decay.

    W1 - W1(0) e^(-λt) stays in the row space of P S^yx, whatever Q does, and W2 then regresses on it: with the
    projection Pi on that space, W2 W1 -> S^yx Pi and sigma_j -> |Pi v_j|^2. They add up to the rank of P S^yx:
    P = U_r^T reaches r modes and nothing else; a P across the modes leaves all of them unfinished.

    Args:
        moments: of the task, S^xx = I.
        p: (r, m).

    ReturnWeights:
        (modes,), each from 0 to 1.

    Source: deduced from the forward equations; the text says only that r < m leaves the solution undetermined.
    """
    _, _, vt = moments.modes()
    _, size, rows = torch.linalg.svd(p.double() @ moments.yx, full_matrices=False)
    rows = rows[size > size.max() * 1e-10]
    strength: Tensor = (rows @ vt.t()).square().sum(0)
    return strength
