"""Leaky integrator: a readout that does not fire."""

from __future__ import annotations

from torch import Tensor

from hwmodels.format import Format
from neurofa.core.description import NeuronDescription
from neurofa.core.layer import State
from neurofa.spiking.neuron import Coefficient, Dynamics, Neuron, Recurrent


class LeakyIntegrator(Neuron, name="leaky"):
    """y_t = kappa y_{t-1} + I_t.

    Args:
        kappa: decay a tick; 0 forgets at once, 1 sums up.
        membrane: number format of y.
    """

    source = "Bellec et al. 2020, Nature Communications 11, 3625 (leaky readout)"
    spiking = False
    memories = ("mem",)

    def __init__(self, *, kappa: float = 0.9, membrane: Format | str = "raw") -> None:
        super().__init__(membrane=membrane)
        self._decay(kappa=kappa)
        self.kappa = kappa

    def describe(self) -> NeuronDescription:
        beta = NeuronDescription.decay(self.kappa, "the output")
        return NeuronDescription(model="leaky", parameters={"beta": beta}, membrane=self.membrane.spec())

    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        y = self.rounded(state["mem"] * self.kappa + current)
        return y, {}, {"mem": y}

    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        return Dynamics([[self.kappa]], [1.0], [1.0 if psi is None else psi])

    def run(self, currents: Tensor, state: State, recurrent: Recurrent | None = None) -> tuple[Tensor, State, State]:
        if recurrent is not None or self.membrane.name != "raw":
            return super().run(currents, state, recurrent)
        mem = state["mem"]
        for y in currents.unbind(0):
            mem = y.add_(mem, alpha=self.kappa)
        return currents, {}, {"mem": mem.clone()}
