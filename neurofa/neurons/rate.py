"""Rate neuron: a leaky potential behind a smooth function, the unit of a recurrent network without spikes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.view import State
from neurofa.spiking.neuron import Neuron


class RateNeuron(Neuron, name="rate"):
    """Rate neuron: u_t = decay u_{t-1} + (1 - decay) I_t, and the output is tanh(u_t) or max(u_t, 0).

    With decay 0 and recurrent weights it is the unit of ``torch.nn.RNN``. Its eligibility for the weights of W and V is
    that of random feedback local online learning: the trace of the inputs, filtered by the potential's decay, times
    f'(u_t); what returns through V is cut.

    Args:
        decay: of the potential per tick, exp(-dt / tau); 0: no memory of its own.
        function: ``tanh`` or ``relu``.
        membrane: number format of the potential.
    """

    source = "Elman 1990, Cognitive Science 14, 179; Murray 2019, eLife 8, e43299 (leak and eligibility)"
    spiking = False
    memories = ("mem",)
    leaves = ("v",)
    functions: ClassVar[tuple[str, ...]] = ("tanh", "relu")

    def __init__(self, *, decay: float = 0.0, function: str = "tanh", membrane: Format | str = "raw") -> None:
        super().__init__(membrane=membrane)
        if not 0 <= decay < 1:
            raise NeurofaError(f"got rate(decay={decay}); expected at least 0 and below 1; change decay")
        if function not in self.functions:
            raise NeurofaError(f"got rate(function={function}); expected {', '.join(self.functions)}; choose one")
        self.decay, self.function = float(decay), function

    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        u = self.rounded(state["mem"] * self.decay + current * (1 - self.decay))
        return u.tanh() if self.function == "tanh" else u.relu(), {"v": u.detach()}, {"mem": u}

    def derivative(self, left: State, like: Tensor) -> Tensor:
        u = left["v"]
        return 1 - u.tanh().square() if self.function == "tanh" else torch.gt(u, 0).to(u.dtype)

    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        own = self.derivative(left, left["v"]) if psi is None else psi
        return Dynamics([[self.decay]], [1 - self.decay], [own])
