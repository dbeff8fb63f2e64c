"""Linearised memory: how the state of a neuron follows from tick to tick, which is all that eligibility needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Coefficient = Tensor | float
"""(K, B, *shape), or a number where all ticks and neurons share it; 0.0 says that there is no path."""

OUT = "out"
"""The outputs of the last tick, in the state of a recurrent layer."""

TRACE = "trace/"
"""Begins the names of traces in a state; the name of the weight follows."""


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Linearised memory of d numbers over K ticks: h_t = M_t h_{t-1} + g_t I_t, and c_t = dz_t / dh_t."""

    move: Sequence[Sequence[Coefficient]]
    """M: ``move[a][b]`` takes memory b of the tick before into memory a; d by d."""
    enter: Sequence[Coefficient]
    """g: what the input current adds to each memory; d."""
    out: Sequence[Coefficient]
    """c: what each memory adds to the output; d."""
