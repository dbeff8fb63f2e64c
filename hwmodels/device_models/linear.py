"""Sequences of pulses whose step shrinks linearly with the state, in closed form."""

from __future__ import annotations

from torch import Tensor

from hwmodels.numerics.accurate import expm1_


def linear_pulses(v: Tensor, n: Tensor, step: Tensor, slope: Tensor, *, additive: bool) -> tuple[Tensor, Tensor]:
    """Return mean and variance of n pulses that step by h (1 + g v); a response y = 1 + g v below zero counts as zero.

    Every pulse multiplies the response by 1 + q, q = g h, so that the mean step is h y ((1 + q)^n - 1)/(q n), exactly.
    Noise of size h adds up to h^2 sum_k (1 + q)^(2k), k < n, exactly. Noise proportional to the step is damped by the
    later steps to what the last one adds, n (h y (1 + q)^(n - 1))^2, exact to first order in the variance of one step.

    Args:
        v: present states, device units.
        n: number of pulses, >= 1.
        step: h, signed, device units.
        slope: g, 1/device unit, of the sign that makes g h <= 0; overwritten.
        additive: noise of size h instead of noise proportional to the step.

    Returns:
        The mean step, device units, and the variance after n pulses in units of the relative variance of one step,
        device units squared.
    """
    q = (step * slope).clamp_(-0.999999, -1e-30)  # log(1 + q) and 1/q exist; a step onto the bound or beyond ends there
    # the step of the first pulse, h y
    first = slope.mul_(v).add_(1).clamp_(min=0).mul_(step)
    log = q.log1p()
    mean = expm1_(log * n).div_(q).div_(n).mul_(first)
    if additive:  # sum_k (1 + q)^(2k) = ((1 + q)^(2n) - 1) / (q (q + 2))
        return mean, expm1_(log.mul_(n).mul_(2)).div_(q.add(2).mul_(q)).mul_(step).mul_(step)
    return mean, log.mul_(n - 1).exp_().mul_(first).square_().mul_(n)
