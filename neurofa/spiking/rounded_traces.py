"""Eligibility traces in a number format, kept tick by tick as a chip would: x_bar_t = Q(M x_bar_{t-1} + g x_t)."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.format import Format
from neurofa.core.dynamics import Dynamics


def rounded_traces(traces: Format, dynamics: Dynamics, xs: Tensor, before: Tensor | None) -> Tensor:
    """Return the traces of every tick, (K, B, ...), each rounded to its format.

    Args:
        traces: number format, which draws nothing.
        dynamics: constant, of one memory.
        xs: (K, B, ...) inputs.
        before: (1, B, ...) traces before; None: zero.
    """
    ((move,),), (enter,) = dynamics.move, dynamics.enter
    trace = torch.zeros_like(xs[0]) if before is None else before[0]
    kept = []
    for x in xs.unbind(0):
        trace = traces.quantize(trace * move + x * enter)
        kept.append(trace)
    return torch.stack(kept)
