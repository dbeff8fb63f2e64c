"""Leaky integrate-and-fire neuron, and the leaky integrator as a readout without spikes."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.format import Format
from neurofa.core.description import NeuronDescription
from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.view import State
from neurofa.spiking.constants import Constant, PerNeuron, constant, here, in_all_ticks, plain
from neurofa.spiking.neuron import Firing, Neuron, Recurrent
from neurofa.spiking.surrogate import Surrogate


class LIF(Firing, name="lif"):
    """LIF neuron: u_t = beta u_{t-1} + I_t minus the reset; z_t = 1 where u_t > threshold.

    It is snnTorch's ``Leaky`` and ``RLeaky``.

    Args:
        beta: decay of the potential per tick, exp(-dt / tau); a tensor (*out_shape) has one for each neuron.
        threshold: threshold of the potential, or a tensor of one for each neuron.
        reset: ``subtract``, ``zero`` or ``none``.
        delay: whether a spike resets the potential in the next tick only.
        gated: whether a reset to zero also drops the current of its tick (snnTorch's ``RLeaky`` does, ``Leaky`` not).
        surrogate: surrogate derivative of a spike.
        membrane: number format of the potential.
    """

    source = "Eshraghian et al. 2023, Proceedings of the IEEE (snnTorch 1.0: Leaky, RLeaky)"
    memories = ("mem",)

    def __init__(
        self,
        *,
        beta: float | Tensor = 0.9,
        threshold: float | Tensor = 1.0,
        reset: str = "subtract",
        delay: bool = True,
        gated: bool = False,
        surrogate: Surrogate | str = "atan",
        membrane: Format | str = "raw",
    ) -> None:
        super().__init__(threshold=threshold, reset=reset, delay=delay, surrogate=surrogate, membrane=membrane)
        self.beta: Constant = constant(beta)
        self._decay(beta=self.beta)
        self.gated = gated

    def describe(self) -> NeuronDescription:
        return self.described("lif", self.gated, beta=NeuronDescription.decay(plain(self.beta), "the potential"))

    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        mem = state["mem"]
        fired = self.fired(mem)
        u = mem * here(self.beta, mem)
        if self.reset == "zero":
            u = (u + current) * (1 - fired) if self.gated else u * (1 - fired) + current
        else:
            u = u + current
        if self.reset == "subtract":
            u = u - fired * here(self.threshold, u)
        u = self.rounded(u)
        v = u - here(self.threshold, u)
        z = self.surrogate.fire(v)
        left, after = self.left_by(u, v, z, fired, state)
        return z, left, after

    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        psi = self.surrogate.derivative(left["v"]) if psi is None else psi
        if self.reset != "zero":
            beta = in_all_ticks(self.beta, left["v"]) if isinstance(self.beta, PerNeuron) else self.beta
            return Dynamics([[beta]], [1.0], [psi])
        stays = left["kept"] * here(self.beta, left["kept"])
        return Dynamics([[stays]], [left["gate"] if self.gated else 1.0], [psi])

    def run(self, currents: Tensor, state: State, recurrent: Recurrent | None = None) -> tuple[Tensor, State, State]:
        if self.reset == "zero" or not self.delay or self.membrane.name != "raw":
            return super().run(currents, state, recurrent)
        # in place, three passes over the neurons of a tick: the memory of the currents takes the potentials
        mem = state["mem"]
        beta = self.beta.like(mem) if isinstance(self.beta, PerNeuron) else self.beta
        threshold = self.threshold.like(mem) if isinstance(self.threshold, PerNeuron) else self.threshold
        outs = torch.empty_like(currents)
        z = torch.gt(mem, threshold, out=torch.empty_like(mem))
        before = z if recurrent is None else recurrent.before
        for u, out in zip(currents.unbind(0), outs.unbind(0), strict=True):
            if recurrent is not None:
                torch.addmm(u, before, recurrent.weight.t(), out=u)
            _add_scaled(u, mem, beta)
            if self.reset == "subtract":
                _add_scaled(u, z, -threshold)
            torch.gt(u, threshold, out=out)
            mem = u
            before = z = out
        after = {"mem": mem.clone()}
        return outs, {"v": currents.sub_(threshold)}, after


class LeakyIntegrator(Neuron, name="leaky"):
    """Leaky integrator: y_t = kappa y_{t-1} + I_t.

    Args:
        kappa: decay per tick; 0: no memory, 1: the sum of all currents; a tensor (*out_shape) has one for each output.
        membrane: number format of y.
    """

    source = "Bellec et al. 2020, Nature Communications 11, 3625 (leaky readout)"
    spiking = False
    memories = ("mem",)
    leaves = ("kappa",)

    def __init__(self, *, kappa: float | Tensor = 0.9, membrane: Format | str = "raw") -> None:
        super().__init__(membrane=membrane)
        self.kappa: Constant = constant(kappa)
        self._decay(kappa=self.kappa)
        self.filter_decay = None if isinstance(self.kappa, PerNeuron) else self.kappa

    def describe(self) -> NeuronDescription:
        beta = NeuronDescription.decay(plain(self.kappa), "the output")
        return NeuronDescription(model="leaky", parameters={"beta": beta}, membrane=str(self.membrane.full_spec))

    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        y = self.rounded(state["mem"] * here(self.kappa, current) + current)
        return y, self._left(y), {"mem": y}

    def _left(self, y: Tensor) -> State:
        """Return what :meth:`dynamics` needs to know of ticks with these outputs: decays that differ."""
        return {"kappa": self.kappa.like(y).expand_as(y)} if isinstance(self.kappa, PerNeuron) else {}

    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        kappa = left["kappa"] if isinstance(self.kappa, PerNeuron) else self.kappa
        return Dynamics([[kappa]], [1.0], [1.0 if psi is None else psi])

    def run(self, currents: Tensor, state: State, recurrent: Recurrent | None = None) -> tuple[Tensor, State, State]:
        if recurrent is not None or self.membrane.name != "raw":
            return super().run(currents, state, recurrent)
        mem = state["mem"]
        kappa = self.kappa.like(mem) if isinstance(self.kappa, PerNeuron) else self.kappa
        for y in currents.unbind(0):
            mem = _add_scaled(y, mem, kappa)
        return currents, self._left(currents), {"mem": mem.clone()}


def _add_scaled(u: Tensor, x: Tensor, factor: Tensor | float) -> Tensor:
    """Return u + factor x, in place."""
    return u.addcmul_(x, factor) if isinstance(factor, Tensor) else u.add_(x, alpha=factor)
