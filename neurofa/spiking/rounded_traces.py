"""Eligibility traces rounded in every tick, as on a digital chip: x_bar_t = Q(M x_bar_{t-1} + g x_t)."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.format import Format
from neurofa.core.dynamics import Dynamics


def rounded_traces(traces: Format, dynamics: Dynamics, xs: Tensor, before: Tensor | None) -> Tensor:
    """Return eligibility traces rounded in every tick, Q(M x_bar_{t-1} + g x_t), for K ticks: (K, B, ...).

    Args:
        traces: number format Q, without stochastic rounding.
        dynamics: constant M and g of one state variable.
        xs: (K, B, ...) inputs.
        before: (1, B, ...) traces before the first tick; None: zero.
    """
    ((move,),), (enter,) = dynamics.move, dynamics.enter
    trace = torch.zeros_like(xs[0]) if before is None else before[0]
    rounded = []
    for x in xs.unbind(0):  # a loop: rounding makes the recursion nonlinear
        trace = traces.quantize(trace * move + x * enter)
        rounded.append(trace)
    return torch.stack(rounded)
