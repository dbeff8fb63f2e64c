"""Deep linear networks with feedback of low rank, simulated sample by sample, to check the equations.

Every step computes outputs, errors and teaching signals of samples as a network does; averages are taken only over the
batch. As the learning rate goes to 0 the weights follow :mod:`neurofa.theory.lowrank.equations`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.theory.lowrank.equations import Plasticity, Weights

Batches = Iterator[tuple[Tensor, Tensor]]
"""Inputs (B, n) and outputs (B, m), step by step."""


def random_teacher(n: int, m: int, inner: int, gen: torch.Generator) -> Tensor:
    """Draw the matrix of a linear teacher, A B / sqrt(inner), with A (m, inner) and B (inner, n) standard normal.

    Args:
        n: inputs.
        m: outputs.
        inner: largest rank of the product.
        gen: source of both factors.

    Returns:
        (m, n), float64.
    """
    left = torch.randn(m, inner, generator=gen, dtype=torch.float64)
    return left @ torch.randn(inner, n, generator=gen, dtype=torch.float64) / math.sqrt(inner)


def initial_weights(n: int, k: int, m: int, rank: int, gen: torch.Generator) -> Weights:
    """Draw small normal weights, W2 of standard deviation 1/m and W1 of 1/k, and Q P = the r leading parts of W2^T.

    P = diag(s_r) U_r^T and Q = V_r of W2 = U diag(s) V^T.

    Args:
        n: inputs.
        k: hidden units.
        m: outputs.
        rank: r.
        gen: source of W1 and W2.

    Raises:
        NeurofaError: a rank that no W2 has.
    """
    if not 1 <= rank <= min(k, m):
        raise NeurofaError(f"got rank {rank}; expected 1 to {min(k, m)}; change the rank")
    w2 = torch.randn(m, k, generator=gen, dtype=torch.float64) / m
    w1 = torch.randn(k, n, generator=gen, dtype=torch.float64) / k
    u, s, vt = torch.linalg.svd(w2, full_matrices=False)
    return Weights(w1=w1, w2=w2, q=vt[:rank].t().contiguous(), p=s[:rank, None] * u[:, :rank].t())


def full_batches(x: Tensor, y: Tensor) -> Batches:
    """Yield all samples at every step, without end.

    Args:
        x: (N, n) inputs.
        y: (N, m) outputs.
    """
    while True:
        yield x, y


def online_batches(teacher: Tensor, size: int, gen: torch.Generator) -> Batches:
    """Yield new white inputs and the teacher's outputs at every step.

    Args:
        teacher: (m, n).
        size: samples a step.
        gen: source of the inputs.
    """
    while True:
        x = torch.randn(size, teacher.shape[1], generator=gen, dtype=teacher.dtype)
        yield x, x @ teacher.t()


def simulate_weights(
    batches: Batches, start: Weights, rule: Plasticity, *, lr: float, steps: int, every: int
) -> tuple[list[float], list[Weights]]:
    """Train a linear network with low-rank feedback by steps on batches, and return the course of its weights.

    Args:
        batches: one is taken a step.
        start: weights before the first step, in the precision of the data.
        rule: equations of Q and P; its rates are in units of ``lr``.
        lr: learning rate.
        steps: number of steps.
        every: steps between two kept copies of the weights; the last weights are kept too.

    Returns:
        Times (lr times steps) and the weights then.

    Raises:
        NeurofaError: the weights grow without bound.
    """
    w1, w2, q, p = (matrix.clone() for matrix in start.matrices())
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
        short = error @ p.t()  # all that the return path carries: r numbers a sample
        delta = error @ w2 if rule.transport else short @ q.t()
        gain_q, gain_p = rule.gains(lr * step)
        change_q = _change_of_q(rule, w2, q, p, (hidden, short))
        change_p = _change_of_p(rule, w2, q, p, y if rule.p == "labels" else error)
        back = rule.decay_back
        w1, w2, q, p = (
            w1 + lr * (delta.t() @ x / len(x) - rule.decay * w1),
            w2 + lr * (error.t() @ hidden / len(x) - rule.decay * w2),
            q + lr * (gain_q * change_q - (back if rule.q == "kp" else 0.0) * q),
            p + lr * (gain_p * change_p - (back if rule.p in ("labels", "errors") else 0.0) * p),
        )
    return times, path


def _change_of_q(rule: Plasticity, w2: Tensor, q: Tensor, p: Tensor, sample: tuple[Tensor, Tensor]) -> Tensor:
    """Return the direction of Q, (k, r); ``sample`` holds the hidden activity (B, k) and the errors P e (B, r)."""
    if rule.q == "kp":
        hidden, short = sample
        return hidden.t() @ short / len(hidden)
    return (w2.t() - q @ p) @ p.t() if rule.q == "track" else torch.zeros_like(q)


def _change_of_p(rule: Plasticity, w2: Tensor, q: Tensor, p: Tensor, samples: Tensor) -> Tensor:
    """Return the direction of P; ``samples`` (B, m) are the labels or errors of Oja's rule."""
    if rule.p == "track":
        return q.t() @ (w2.t() - q @ p)
    if rule.p == "fixed":
        return torch.zeros_like(p)
    # Oja 1989: a sample less its reconstruction from P, weighted with its r responses
    response = samples @ p.t()
    return response.t() @ (samples - response @ p) / len(samples)
