"""Deep linear networks with feedback of low rank, simulated sample by sample: the oracle of the equations.

Every step computes outputs, errors and teaching signals of samples as a network does; nothing is averaged before it
has to be. As the learning rate goes to 0 the weights follow :mod:`neurofa.theory.lowrank`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.theory.lowrank import Plasticity, Weights

Batches = Iterator[tuple[Tensor, Tensor]]
"""Inputs (B, n) and outputs (B, m), step by step."""


def teacher(n: int, m: int, inner: int, gen: torch.Generator) -> Tensor:
    """A B / sqrt(inner) with A (m, inner) and B (inner, n) standard normal: (m, n), float64."""
    left = torch.randn(m, inner, generator=gen, dtype=torch.float64)
    return left @ torch.randn(inner, n, generator=gen, dtype=torch.float64) / math.sqrt(inner)


def start(n: int, k: int, m: int, rank: int, gen: torch.Generator) -> Weights:
    """Small normal weights, W2 of standard deviation 1/m and W1 of 1/k, and Q P = the r leading parts of W2^T.

    P = diag(s_r) U_r^T and Q = V_r of W2 = U diag(s) V^T.

    Raises:
        NeurofaError: a rank that no W2 has.
    """
    if not 1 <= rank <= min(k, m):
        raise NeurofaError(f"got rank {rank}; expected 1 to {min(k, m)}; change the rank")
    w2 = torch.randn(m, k, generator=gen, dtype=torch.float64) / m
    w1 = torch.randn(k, n, generator=gen, dtype=torch.float64) / k
    u, s, vt = torch.linalg.svd(w2, full_matrices=False)
    return Weights(w1=w1, w2=w2, q=vt[:rank].t().contiguous(), p=s[:rank, None] * u[:, :rank].t())


def same(x: Tensor, y: Tensor) -> Batches:
    """The whole of the data at every step."""
    while True:
        yield x, y


def fresh(teacher: Tensor, size: int, gen: torch.Generator) -> Batches:
    """New white inputs at every step (online learning); outputs are the teacher's, (m, n)."""
    while True:
        x = torch.randn(size, teacher.shape[1], generator=gen, dtype=teacher.dtype)
        yield x, x @ teacher.t()


def simulate(
    batches: Batches, start: Weights, rule: Plasticity, *, lr: float, steps: int, every: int
) -> tuple[list[float], list[Weights]]:
    """Learn step by step.

    Args:
        batches: one is taken a step.
        start: weights before the first step, in the precision of the data.
        rule: what learns; its rates are in units of ``lr``.
        lr: learning rate.
        steps: how many.
        every: keep the weights before every so many steps, and at the end.

    ReturnWeights:
        Times (lr times steps) and the weights then.

    Raises:
        NeurofaError: the weights grow without bound.
    """
    w1, w2, q, p = (part.clone() for part in start.all())
    times, path = [], []
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            times.append(lr * step)
            path.append(Weights(w1=w1.clone(), w2=w2.clone(), q=q.clone(), p=p.clone()))
            if not w1.isfinite().all():
                raise NeurofaError(f"got weights without bound at step {step}; expected finite ones; take a smaller lr")
        if step == steps:
            break
        x, y = next(batches)
        hidden = x @ w1.t()
        error = y - hidden @ w2.t()
        short = error @ p.t()  # r numbers a sample: all that the return path carries
        delta = error @ w2 if rule.transport else short @ q.t()
        gain_q, gain_p = rule.gains(lr * step)
        change_q, change_p = _back(rule, (w2, q, p), hidden, error, short, y)
        back = rule.decay_back
        w1, w2, q, p = (
            w1 + lr * (delta.t() @ x / len(x) - rule.decay * w1),
            w2 + lr * (error.t() @ hidden / len(x) - rule.decay * w2),
            q + lr * (gain_q * change_q - (back if rule.q == "kp" else 0.0) * q),
            p + lr * (gain_p * change_p - (back if rule.p in ("labels", "errors") else 0.0) * p),
        )
    return times, path


def _back(
    rule: Plasticity, now: tuple[Tensor, Tensor, Tensor], hidden: Tensor, error: Tensor, short: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Directions of Q and P, from the samples of one step."""
    w2, q, p = now
    change_q, change_p = torch.zeros_like(q), torch.zeros_like(p)
    if rule.q == "kp":
        change_q = hidden.t() @ short / len(y)
    elif rule.q == "track":
        change_q = (w2.t() - q @ p) @ p.t()
    if rule.p in ("labels", "errors"):
        # Oja 1989: what is seen, less its reconstruction from P, weighed with the r responses
        seen = y if rule.p == "labels" else error
        response = seen @ p.t()
        change_p = response.t() @ (seen - response @ p) / len(y)
    elif rule.p == "track":
        change_p = q.t() @ (w2.t() - q @ p)
    return change_q, change_p
