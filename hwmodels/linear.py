"""Runs of pulses whose step shrinks linearly with the state: closed forms of mean and variance.

A step up or down from v is h (1 + g v) with h signed; after every pulse the response y = 1 + g v is (1 + q) y, q = g h.
"""

from __future__ import annotations

from torch import Tensor


def decay(step: Tensor, slope: Tensor) -> Tensor:
    """The relative change q = g h of the response per pulse, kept in (-1, 0) so that log(1 + q) and 1/q exist.

    Args:
        step: h, signed, device units.
        slope: g, 1/device unit, of the sign that makes g h <= 0.
    """
    return (step * slope).clamp_(-0.999999, -1e-30)


def mean_step(n: Tensor, q: Tensor, first: Tensor) -> Tensor:
    """Mean of n >= 1 steps that begin with ``first`` = h y: h y ((1 + q)^n - 1)/(q n), device units, exact."""
    return q.log1p().mul_(n).expm1_().div_(q).div_(n).mul_(first)


def relative_noise(n: Tensor, q: Tensor, first: Tensor, mean: Tensor) -> Tensor:
    """Variance of n steps in units of their relative noise: n (last step)^2, device units squared.

    The noise of an early step is damped by the later ones to what the last one adds: h y (1 + q)^(n - 1) each, exact to
    first order in the variance of a step.

    Args:
        n: number of pulses, 0 or more.
        q: see :func:`decay`.
        first: h y, device units.
        mean: :func:`mean_step`, device units.
    """
    # (1 + q)^(n - 1) = (1 + q M/first)/(1 + q) with M = n mean; y = 0 has no step and no noise
    last = (mean * n * q).add_(first).div_(q + 1)
    return last.where(n > 1, first).square_().mul_(n)


def additive_noise(n: Tensor, q: Tensor, step: Tensor) -> Tensor:
    """Variance of n steps with noise of the size of h whatever the state: h^2 sum_k (1 + q)^(2k), k < n, exact."""
    return q.log1p().mul_(n).mul_(2).expm1_().div_(q.mul(q + 2)).mul_(step.square())
