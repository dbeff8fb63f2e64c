"""Recurrent layer of long short-term memory units."""

from __future__ import annotations

import torch
from torch import Tensor

from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.view import State
from neurofa.spiking.gated import Gated, GatedUnit


class LSTM(Gated, name="lstm"):
    """Long short-term memory: c_t = f c_{t-1} + i g, y_t = o tanh(c_t), (B, n_in) to (B, n_out).

    Gates i, f, o are sigmoids and g a tanh of their currents W x_t + b + V y_{t-1}, in the order i, f, g, o of
    ``torch.nn.LSTM``, whose two biases are one here. Local eligibility goes through c; what returns through V is cut.

    Args:
        n_in: inputs.
        n_out: n, units.
        bias: whether b is added.
    """

    source = "Hochreiter and Schmidhuber 1997, Neural Computation 9, 1735 (with forget gates: Gers et al. 2000)"

    def __init__(self, n_in: int = 4, n_out: int = 3, *, bias: bool = True) -> None:
        super().__init__(n_in, n_out, LongShortTermMemory(), bias=bias)


class LongShortTermMemory(GatedUnit):
    """Unit of :class:`LSTM`: it keeps c, and shows o tanh(c)."""

    name = "lstm"
    gates = 4
    memories = ("cell",)
    potential = "cell"
    leaves = ("keep", "enter", "shown")

    def drive(self, inputs: Tensor, recurrent: Tensor, state: State) -> tuple[Tensor, State, State]:
        a, f, g, o = (inputs + recurrent).chunk(4, 1)
        a, f, g, o = a.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        before = state["cell"]
        cell = f * before + a * g
        shown = cell.tanh()
        with torch.no_grad():
            slope, one, zero = o * (1 - shown * shown), torch.ones_like(o), torch.zeros_like(o)
            # i, f, g act through c; o acts on the output of its own tick
            left = {
                "keep": torch.cat([f, f, f, zero], 1),
                "enter": torch.cat([g * a * (1 - a), before * f * (1 - f), a * (1 - g * g), shown * o * (1 - o)], 1),
                "shown": torch.cat([slope, slope, slope, one], 1),
            }
        return o * shown, {key: value.detach() for key, value in left.items()}, {"cell": cell}

    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        return Dynamics([[left["keep"]]], [left["enter"]], [left["shown"] if psi is None else psi])
