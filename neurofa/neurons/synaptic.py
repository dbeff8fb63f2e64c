"""Current-based leaky integrate-and-fire neuron."""

from __future__ import annotations

from torch import Tensor

from hwmodels.format import Format
from neurofa.core.description import NeuronDescription
from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.view import State
from neurofa.spiking.constants import Constant, constant, here, in_all_ticks, plain
from neurofa.spiking.neuron import Firing
from neurofa.spiking.surrogate import Surrogate


class Synaptic(Firing, name="synaptic"):
    """Current-based LIF neuron: i_t = alpha i_{t-1} + I_t; u_t = beta u_{t-1} + i_t minus the reset.

    It is snnTorch's ``Synaptic``. A reset to zero multiplies the whole new potential by 1 - R_t.

    Args:
        alpha: decay of the synaptic current per tick; a tensor (*out_shape) has one for each neuron.
        beta: decay of the potential per tick, or a tensor of one for each neuron.
        threshold: threshold of the potential, or a tensor of one for each neuron.
        reset: ``subtract``, ``zero`` or ``none``.
        delay: whether a spike resets the potential in the next tick only.
        surrogate: surrogate derivative of a spike.
        membrane: number format of the potential and of the synaptic current.
    """

    source = "Eshraghian et al. 2023, Proceedings of the IEEE (snnTorch 1.0: Synaptic)"
    memories = ("syn", "mem")

    def __init__(
        self,
        *,
        alpha: float | Tensor = 0.8,
        beta: float | Tensor = 0.9,
        threshold: float | Tensor = 1.0,
        reset: str = "subtract",
        delay: bool = True,
        surrogate: Surrogate | str = "atan",
        membrane: Format | str = "raw",
    ) -> None:
        super().__init__(threshold=threshold, reset=reset, delay=delay, surrogate=surrogate, membrane=membrane)
        self.alpha: Constant = constant(alpha)
        self.beta: Constant = constant(beta)
        self._decay(alpha=self.alpha, beta=self.beta)

    def describe(self) -> NeuronDescription:
        # gated: a reset to zero multiplies the whole new potential, including the current of its tick
        beta = NeuronDescription.decay(plain(self.beta), "the potential")
        alpha = NeuronDescription.decay(plain(self.alpha), "the synaptic current")
        return self.described("synaptic", gated=True, beta=beta, alpha=alpha)

    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        mem = state["mem"]
        fired = self.fired(mem)
        i = self.rounded(state["syn"] * here(self.alpha, mem) + current)
        u = mem * here(self.beta, mem) + i
        if self.reset == "subtract":
            u = u - fired * here(self.threshold, u)
        elif self.reset == "zero":
            u = u * (1 - fired)
        u = self.rounded(u)
        v = u - here(self.threshold, u)
        z = self.surrogate.fire(v)
        left, after = self.left_by(u, v, z, fired, state)
        return z, left, {"syn": i, **after}

    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        psi = self.psi(left) if psi is None else psi
        alpha, beta = (in_all_ticks(decay, left["v"]) for decay in (self.alpha, self.beta))
        if self.reset != "zero":
            # u_t = beta u_{t-1} + (alpha i_{t-1} + I_t): the new current enters the potential in the same tick
            return Dynamics([[alpha, 0.0], [alpha, beta]], [1.0, 1.0], [0.0, psi])
        gate, kept = left["gate"], left["kept"]
        return Dynamics([[alpha, 0.0], [gate * alpha, kept * beta]], [1.0, gate], [0.0, psi])
