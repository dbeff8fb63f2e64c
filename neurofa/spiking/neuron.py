"""Neurons: models of how an input current drives a membrane and fires spikes, tick by tick, with their derivatives.

A neuron's memory h of d numbers follows h_t = M_t h_{t-1} + g_t I_t, its output depends on h_t by c_t = dz_t / dh_t,
and all coefficients are the neuron's own: no neuron's derivative crosses to another one (the recurrence is cut, and
the reset is no path of credit). That is all that eligibility traces need; see :mod:`neurofa.spiking.eligibility`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from hwmodels.description import TensorDescription
from hwmodels.errors import NeurofaError
from hwmodels.format import Format, straight_through
from hwmodels.registry import Registered, build
from neurofa.core.description import PER_OUTPUT, NeuronDescription
from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.view import State
from neurofa.spiking.surrogate import Surrogate

RESETS = ("subtract", "zero", "none")


class Recurrent(NamedTuple):
    """Weights among the neurons of a layer."""

    weight: Tensor
    """(n, n): from every neuron's last output (columns) to every neuron's current (rows)."""
    before: Tensor
    """(B, n): outputs of the tick before the first."""


def tick_format(what: str, given: Format | str) -> Format:
    """A number format that ticks round to without a generator.

    Args:
        what: what is rounded, for the message.
        given: a spec, or a format.

    Raises:
        NeurofaError: one that rounds stochastically.
    """
    found: Format = build("format", given)
    if getattr(found, "rounding", "nearest") == "stochastic":
        raise NeurofaError(
            f"got {what} in {found.name}(rounding=stochastic); expected rounding to the nearest value, which a replayed"
            " tick repeats; change it"
        )
    return found


class Neuron(Registered, ABC, kind="neuron"):
    """A model of a neuron, without weights.

    Args:
        membrane: number format of the potential, to which every tick rounds it (straight-through in learning).
    """

    spiking: ClassVar[bool] = True
    """Whether outputs are spikes, 0 or 1."""
    memories: ClassVar[tuple[str, ...]]
    """Names of the memories, which the state carries from tick to tick."""
    filter_decay: float | None = None
    """Decay a tick of a readout that filters spikes; None: the neuron is no such filter."""
    leaves: ClassVar[tuple[str, ...]] = ()
    """Names of what a tick may leave for :meth:`dynamics`."""
    potential: ClassVar[str] = "mem"
    """Name of the potential among the memories."""

    def __init__(self, *, membrane: Format | str = "raw") -> None:
        self.membrane = tick_format("membrane", membrane)

    def initial_state(self, like: Tensor) -> State:
        """State before the first tick: everything is zero.

        Args:
            like: (B, *shape) tensor whose shape, dtype and device the state takes.
        """
        return {key: torch.zeros_like(like) for key in self.memories}

    @abstractmethod
    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        """One tick, open to autograd: the slow oracle.

        Args:
            current: (B, *shape) input current, recurrent currents included.
            state: before the tick.

        Returns:
            (B, *shape) output; what the tick leaves for :meth:`dynamics`; the state after it.
        """

    @abstractmethod
    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        """The linearised ticks.

        Args:
            left: what K ticks left, each (K, B, *shape).
            psi: derivative of the output by the potential; None: the neuron's own.
        """

    def derivative(self, left: State, like: Tensor) -> Tensor:
        """Derivative of the output by the potential at every tick, shaped as ``like``; of a readout, 1."""
        return torch.ones_like(like)

    def run(self, currents: Tensor, state: State, recurrent: Recurrent | None = None) -> tuple[Tensor, State, State]:
        """K ticks without autograd.

        Args:
            currents: (K, B, *shape) input currents; their memory may be reused.
            state: before the first tick.
            recurrent: weights among the neurons; None: there are none.

        Returns:
            (K, B, *shape) outputs; what the ticks left, each (K, B, *shape); the state after the last.
        """
        outs, lefts = [], []
        out = None if recurrent is None else recurrent.before
        for current in currents.unbind(0):
            driven = current
            if recurrent is not None and out is not None:
                driven = torch.addmm(current, out, recurrent.weight.t())
            out, left, state = self.tick(driven, state)
            outs.append(out)
            lefts.append(left)
        return torch.stack(outs), {key: torch.stack([left[key] for left in lefts]) for key in lefts[0]}, state

    def describe(self) -> NeuronDescription | None:
        """Describe the dynamics to exports; None (default): files know no such model, and store the weights alone."""
        return None

    @property
    def spike_derivative(self) -> Surrogate | None:
        """The derivative of a spike; None (default): the neurons do not fire."""
        return None

    def widths(self) -> dict[str, float]:
        """Return the width, bit, of the numbers of the state that a format or a spike makes narrow, by name."""
        return {self.potential: self.membrane.bits} | ({"spk": 1.0} if self.spiking else {})

    def rounded(self, u: Tensor) -> Tensor:
        """The potential in the membrane's number format."""
        return u if self.membrane.name == "raw" else straight_through(self.membrane, u)

    def _decay(self, **values: float) -> None:
        """Refuse decays outside 0 to 1."""
        for key, value in values.items():
            if not 0 <= value <= 1:
                raise NeurofaError(f"got {self.name}({key}={value}); expected 0 to 1 a tick; change {key}")

    def _threshold(self, threshold: float) -> None:
        if not (threshold > 0 and math.isfinite(threshold)):
            raise NeurofaError(f"got {self.name}(threshold={threshold}); expected a positive number; 1 is the default")


class Firing(Neuron, ABC):
    """A neuron that fires when its potential is above a threshold, and is then reset.

    The reset follows snnTorch: R_t = H(u_{t-1} - threshold) of the potential that the tick finds. ``subtract`` takes
    R_t threshold off the new potential, ``zero`` multiplies by 1 - R_t, ``none`` does nothing. Without delay a spike
    also resets at once what the tick leaves, by z_t - R_t. In learning R is a constant.

    Args:
        threshold: of the potential.
        reset: ``subtract``, ``zero`` or ``none``.
        delay: whether a spike resets the potential in the next tick only.
        surrogate: derivative of a spike.
        membrane: number format of the potential.
    """

    leaves = ("v", "kept", "gate")

    def __init__(
        self, *, threshold: float, reset: str, delay: bool, surrogate: Surrogate | str, membrane: Format | str
    ) -> None:
        super().__init__(membrane=membrane)
        self._threshold(threshold)
        if reset not in RESETS:
            raise NeurofaError(f"got {self.name}(reset={reset}); expected {', '.join(RESETS)}; choose one")
        self.threshold, self.reset, self.delay = threshold, reset, delay
        self.surrogate: Surrogate = build("surrogate", surrogate)

    @property
    def spike_derivative(self) -> Surrogate:
        return self.surrogate

    def described(
        self, model: Literal["lif", "synaptic", "alif"], gated: bool, **parameters: tuple[float, TensorDescription]
    ) -> NeuronDescription:
        """Describe neurons of a model that files know, with their threshold and reset.

        Args:
            model: its name in files.
            gated: whether a reset to zero also drops the drive of its tick.
            parameters: value and meaning of the others.
        """
        threshold = TensorDescription(meaning="threshold of the potential", axes=PER_OUTPUT)
        return NeuronDescription(
            model=model,
            parameters={**parameters, "threshold": (self.threshold, threshold)},
            reset=self.reset,  # type: ignore[arg-type]
            delay=self.delay,
            gated=gated,
            membrane=str(self.membrane.full_spec),
        )

    def initial_state(self, like: Tensor) -> State:
        state = super().initial_state(like)
        if self.reset == "zero" and not self.delay:
            state["stays"] = torch.ones_like(like)
        return state

    def fired(self, mem: Tensor) -> Tensor:
        """R: 1 where the potential that a tick finds is above the threshold; a constant in learning."""
        return (mem > self.threshold).to(mem.dtype).detach()

    def left_by(self, u: Tensor, v: Tensor, z: Tensor, fired: Tensor, state: State) -> tuple[State, State]:
        """What a tick leaves for :meth:`dynamics`, and the potential after it.

        Args:
            u: (B, *shape) potential that has met the threshold.
            v: its distance from the threshold.
            z: spikes.
            fired: R.
            state: before the tick.
        """
        left, after = {"v": v.detach()}, {"mem": u}
        if self.reset == "zero":
            left["gate"] = 1 - fired
            left["kept"] = left["gate"] * state.get("stays", torch.ones_like(fired))
        if not self.delay and self.reset != "none":
            now = (z - fired).detach()
            after["mem"] = u - now * self.threshold if self.reset == "subtract" else u - now * u
            if self.reset == "zero":
                after["stays"] = 1 - now
        return left, after

    def derivative(self, left: State, like: Tensor) -> Tensor:
        return self.psi(left)

    def psi(self, left: State) -> Tensor:
        """The surrogate derivative at every tick, shaped as ``left['v']``."""
        return self.surrogate.derivative(left["v"])
