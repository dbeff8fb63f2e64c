"""Moments of a normal number that is clipped to an interval."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def clipped_variance(mean: Tensor, std: Tensor, low: float, high: float) -> Tensor:
    """Return Var[clip(mean + std xi, low, high)], xi standard normal.

    With a = (low - mean)/std, b = (high - mean)/std, phi and Phi density and distribution of xi, c = clip(xi, a, b):
    E[c] = a Phi(a) + b (1 - Phi(b)) + phi(a) - phi(b), E[c^2] = a^2 Phi(a) + b^2 (1 - Phi(b)) + Phi(b) - Phi(a) +
    a phi(a) - b phi(b); the variance is std^2 (E[c^2] - E[c]^2).

    Args:
        mean: any shape and unit.
        std: >= 0, same shape and unit.
        low: lower end, same unit.
        high: upper end, above ``low``.
    """
    a, b = ((end - mean) / std.clamp(min=torch.finfo(std.dtype).tiny) for end in (low, high))
    a, b = a.clamp_(-30, 30), b.clamp_(-30, 30)  # beyond, nothing is clipped
    below, above = torch.special.ndtr(a), torch.special.ndtr(-b)
    at_a, at_b = (torch.exp(-0.5 * end.square()) / math.sqrt(2 * math.pi) for end in (a, b))
    first = a * below + b * above + at_a - at_b
    second = a.square() * below + b.square() * above + (1 - above - below) + a * at_a - b * at_b
    variance: Tensor = (second - first.square()).clamp_(min=0) * std.square()
    return variance
