"""Recurrent layer of gated recurrent units."""

from __future__ import annotations

import torch
from torch import Tensor

from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.view import State
from neurofa.spiking.gated import Gated, GatedUnit


class GRU(Gated, name="gru"):
    """Gated recurrent units: y_t = (1 - z) n + z y_{t-1}, (B, n_in) to (B, n_out).

    Gates r, z are sigmoids of their currents W x_t + b + V y_{t-1}; n is tanh(W x_t + b + r V y_{t-1}), in the order r,
    z, n of ``torch.nn.GRU``, without its bias inside of r. Local eligibility goes through y_{t-1} times z; what returns
    through V is cut.

    Args:
        n_in: inputs.
        n_out: n, units.
        bias: whether b is added.
    """

    source = "Cho et al. 2014, arXiv 1406.1078 (reset after the product, as in cuDNN and torch)"

    def __init__(self, n_in: int = 4, n_out: int = 3, *, bias: bool = True) -> None:
        super().__init__(n_in, n_out, GatedRecurrentUnit(), bias=bias)


class GatedRecurrentUnit(GatedUnit):
    """Unit of :class:`GRU`: it shows what it keeps."""

    name = "gru"
    gates = 3
    memories = ("mem",)
    leaves = ("keep", "enter")

    def drive(self, inputs: Tensor, recurrent: Tensor, state: State) -> tuple[Tensor, State, State]:
        (xr, xz, xn), (hr, hz, hn) = inputs.chunk(3, 1), recurrent.chunk(3, 1)
        r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
        n = (xn + r * hn).tanh()
        before = state["mem"]
        y = (1 - z) * n + z * before
        with torch.no_grad():
            free = (1 - z) * (1 - n * n)
            enter = torch.cat([free * hn * r * (1 - r), (before - n) * z * (1 - z), free], 1)
            one = torch.ones_like(r)
            left = {"keep": z.repeat(1, 3), "enter": enter, "reset": torch.cat([one, one, r], 1)}
        return y, {key: value.detach() for key, value in left.items()}, {"mem": y}

    def entry(self, left: State) -> Tensor | None:
        return left["reset"]

    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        return Dynamics([[left["keep"]]], [left["enter"]], [1.0])
