"""Leaky integrate-and-fire neuron with an adaptive threshold."""

from __future__ import annotations

from torch import Tensor

from hwmodels.description import TensorDescription
from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.description import NeuronDescription
from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.view import State
from neurofa.spiking.constants import here
from neurofa.spiking.neuron import Firing
from neurofa.spiking.surrogate import Surrogate


class ALIF(Firing, name="alif"):
    """LIF neuron with adaptive threshold A_t = threshold + gain a_t, which rises with every spike of the neuron.

    a_t = rho a_{t-1} + z_{t-1}; u_t = beta u_{t-1} + I_t minus the reset of the last spike; z_t = 1 where u_t > A_t.
    A reset by subtraction subtracts the base threshold. With rho near 1 the adaptation is a long memory.

    Args:
        beta: decay of the potential per tick.
        rho: decay of the adaptation per tick.
        gain: increase of the threshold per spike (beta_a in the paper).
        threshold: base threshold.
        reset: ``subtract``, ``zero`` or ``none``.
        surrogate: surrogate derivative of a spike.
        membrane: number format of the potential.
    """

    source = "Bellec et al. 2020, Nature Communications 11, 3625 (LSNN; eligibility traces of ALIF)"
    memories = ("mem", "adaptation", "spk")
    leaves = ("v", "before", "gate")

    def __init__(
        self,
        *,
        beta: float = 0.9,
        rho: float = 0.98,
        gain: float = 0.1,
        threshold: float = 1.0,
        reset: str = "subtract",
        surrogate: Surrogate | str = "triangular",
        membrane: Format | str = "raw",
    ) -> None:
        super().__init__(threshold=threshold, reset=reset, delay=True, surrogate=surrogate, membrane=membrane)
        self._decay(beta=beta, rho=rho)
        if gain < 0:
            raise NeurofaError(f"got alif(gain={gain}); expected 0 or more; 0 is a plain lif")
        self.beta, self.rho, self.gain = beta, rho, gain

    def describe(self) -> NeuronDescription:
        beta = NeuronDescription.decay(self.beta, "the potential")
        rho = NeuronDescription.decay(self.rho, "the adaptation")
        kappa = self.gain, TensorDescription(meaning="what one unit of adaptation adds to the threshold")
        return self.described("alif", gated=False, beta=beta, rho=rho, kappa=kappa)

    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        # in learning the reset is a constant, but the threshold depends on the last spike
        z = state["spk"]
        fired = z.detach()
        a = state["adaptation"] * self.rho + z
        u = state["mem"] * self.beta
        if self.reset == "zero":
            u = u * (1 - fired)
        u = u + current
        if self.reset == "subtract":
            u = u - fired * here(self.threshold, u)
        u = self.rounded(u)
        v = u - here(self.threshold, u) - self.gain * a
        left = {"v": v.detach(), "before": state.get("psi", v.new_zeros(())).expand_as(v)}
        if self.reset == "zero":
            left["gate"] = 1 - fired
        now = self.surrogate.fire(v)
        return now, left, {"mem": u, "adaptation": a, "spk": now, "psi": self.psi(left)}

    def initial_state(self, like: Tensor) -> State:
        state = super().initial_state(like)
        return {**state, "psi": state["spk"].clone()}

    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        psi = self.psi(left) if psi is None else psi
        # a_t depends on z_{t-1}, whose derivative by (u_{t-1}, a_{t-1}) is psi_{t-1} (1, -gain)
        before = left["before"]
        stays = left["gate"] * self.beta if self.reset == "zero" else self.beta
        return Dynamics([[stays, 0.0], [before, self.rho - before * self.gain]], [1.0, 0.0], [psi, psi * -self.gain])
