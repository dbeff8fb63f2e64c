"""Linearised neuron dynamics from tick to tick, from which eligibility traces follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Coefficient = Tensor | float
"""(K, B, *shape), or a number shared by all ticks and neurons; the number 0.0 marks a missing path."""

OUT = "out"
"""Name of the last tick's outputs in the state of a recurrent layer."""

TRACE = "trace/"
"""Prefix of the names of traces in a state; the name of the weight follows."""


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Linearised dynamics of a neuron with d state variables h over K ticks: h_t = M_t h_{t-1} + g_t I_t.

    I_t is the input current and z_t the output (the spike) of tick t, with the derivative c_t = dz_t / dh_t.
    """

    move: Sequence[Sequence[Coefficient]]
    """M, d by d: ``move[a][b]`` = dh_t[a] / dh_{t-1}[b]."""
    enter: Sequence[Coefficient]
    """g, d: ``enter[a]`` = dh_t[a] / dI_t, the derivative by the input current."""
    out: Sequence[Coefficient]
    """c, d: ``out[a]`` = dz_t / dh_t[a]."""
