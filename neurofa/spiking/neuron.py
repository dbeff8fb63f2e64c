"""Neuron models: membrane dynamics and spikes for an input current, tick by tick, with their derivatives.

For small changes the d state variables h follow h_t = M_t h_{t-1} + g_t I_t, where I_t is the input current, and the
output z_t has the derivative c_t = dz_t / dh_t (:class:`neurofa.core.dynamics.Dynamics`). All coefficients belong to
one neuron: derivatives through recurrent connections and through the reset are cut. Eligibility traces need nothing
else; see :mod:`neurofa.spiking.eligibility`.
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
from neurofa.core.description import PER_OUTPUT, DescribedConstant, NeuronDescription
from neurofa.core.dynamics import Coefficient, Dynamics
from neurofa.core.view import State
from neurofa.spiking.constants import Constant, bounds, constant, here, plain
from neurofa.spiking.surrogate import Surrogate

RESETS = ("subtract", "zero", "none")


class Recurrent(NamedTuple):
    """Recurrent weights of a layer, and the outputs that they act on in the first tick."""

    weight: Tensor
    """(n, n): from every neuron's last output (columns) to every neuron's current (rows)."""
    before: Tensor
    """(B, n): outputs of the tick before the first."""


def tick_format(what: str, spec: Format | str) -> Format:
    """Return a number format for numbers that are rounded in every tick; stochastic rounding is refused.

    Args:
        what: name of the rounded quantity, for the message.
        spec: a spec, or a format.

    Raises:
        NeurofaError: the format rounds stochastically.
    """
    number_format: Format = build("format", spec)
    if getattr(number_format, "rounding", "nearest") == "stochastic":
        raise NeurofaError(
            f"got {what} in {number_format.name}(rounding=stochastic); expected rounding to the nearest value, which a"
            " replayed tick repeats; change it"
        )
    return number_format


class Neuron(Registered, ABC, kind="neuron"):
    """A model of a neuron: state variables and output (spikes, or a leaky sum) for an input current; without weights.

    Args:
        membrane: number format to which the potential is rounded in every tick (straight-through in learning).
    """

    spiking: ClassVar[bool] = True
    """Whether outputs are spikes, 0 or 1."""
    memories: ClassVar[tuple[str, ...]]
    """Names of the state variables that are kept from tick to tick."""
    filter_decay: float | None = None
    """Decay per tick of a readout that filters spikes; None: the neuron is no such filter."""
    leaves: ClassVar[tuple[str, ...]] = ()
    """Names of the tensors that a tick may record for :meth:`dynamics`."""
    gates: ClassVar[int] = 1
    """Number of input currents of a neuron."""
    potential: ClassVar[str] = "mem"
    """Name of the potential among the memories."""

    def __init__(self, *, membrane: Format | str = "raw") -> None:
        self.membrane = tick_format("membrane", membrane)

    def initial_state(self, like: Tensor) -> State:
        """Return the state before the first tick: zeros.

        Args:
            like: (B, *shape), with the shape, dtype and device of the state.
        """
        return {key: torch.zeros_like(like) for key in self.memories}

    @abstractmethod
    def tick(self, current: Tensor, state: State) -> tuple[Tensor, State, State]:
        """Compute one tick, differentiable by autograd; the faster :meth:`run` has to agree with it.

        Args:
            current: (B, *shape) input current, recurrent currents included.
            state: before the tick.

        Returns:
            (B, *shape) output; tensors recorded for :meth:`dynamics`; state after the tick.
        """

    @abstractmethod
    def dynamics(self, left: State, psi: Coefficient | None = None) -> Dynamics:
        """Return the dynamics of K ticks, linearised around the state variables in these ticks.

        Args:
            left: tensors that the ticks recorded, each (K, B, *shape).
            psi: derivative of the output by the potential; None: the neuron's own.
        """

    def entry(self, left: State) -> Tensor | None:
        """Return by what recurrent currents are multiplied before they act as input currents; None (default): 1.

        Args:
            left: tensors that the ticks recorded, (K B, *shape) each.
        """
        return None

    def derivative(self, left: State, like: Tensor) -> Tensor:
        """Return the derivative of the output by the potential in every tick; 1 for a readout.

        Args:
            left: tensors that the ticks recorded.
            like: (K, B, *shape) or (K B, *shape), with the shape, dtype and device of the result.
        """
        return torch.ones_like(like)

    def run(self, currents: Tensor, state: State, recurrent: Recurrent | None = None) -> tuple[Tensor, State, State]:
        """Compute the outputs of the neurons in K ticks, without autograd.

        Args:
            currents: (K, B, *shape) input currents; their memory may be reused.
            state: before the first tick.
            recurrent: recurrent weights; None: there are none.

        Returns:
            (K, B, *shape) outputs; tensors recorded for :meth:`dynamics`, each (K, B, *shape); state after the last
            tick.
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
        """Return the description for exports; None (default): the formats have no such model and store weights only."""
        return None

    @property
    def spike_derivative(self) -> Surrogate | None:
        """Surrogate derivative of a spike; None (default): the neurons do not spike."""
        return None

    def widths(self) -> dict[str, float]:
        """Return the width, bit, of the state variables that are narrower than the dtype, by name."""
        return {self.potential: self.membrane.bits} | ({"spk": 1.0} if self.spiking else {})

    def rounded(self, u: Tensor) -> Tensor:
        """Return the potential rounded to the membrane's number format."""
        return u if self.membrane.name == "raw" else straight_through(self.membrane, u)

    def _decay(self, **values: Constant) -> None:
        """Refuse decays outside 0 to 1."""
        for key, value in values.items():
            low, high = bounds(value)
            if not (low >= 0 and high <= 1):
                raise NeurofaError(f"got {self.name}({key}={value}); expected 0 to 1 a tick; change {key}")

    def _threshold(self, threshold: Constant) -> None:
        low, high = bounds(threshold)
        if not (low > 0 and math.isfinite(high)):
            raise NeurofaError(f"got {self.name}(threshold={threshold}); expected a positive number; 1 is the default")


class Firing(Neuron, ABC):
    """A neuron that spikes when its potential exceeds a threshold, and is then reset.

    The reset follows snnTorch: R_t = H(u_{t-1} - threshold) depends on the potential before the tick. ``subtract``
    subtracts R_t threshold from the new potential, ``zero`` multiplies it by 1 - R_t, ``none`` does nothing. Without
    delay a spike also resets the potential at the end of its own tick, by z_t - R_t. In learning R is a constant.

    Args:
        threshold: threshold of the potential, or a tensor of one for each neuron.
        reset: ``subtract``, ``zero`` or ``none``.
        delay: whether a spike resets the potential in the next tick only.
        surrogate: surrogate derivative of a spike.
        membrane: number format of the potential.
    """

    leaves = ("v", "kept", "gate")

    def __init__(
        self, *, threshold: float | Tensor, reset: str, delay: bool, surrogate: Surrogate | str, membrane: Format | str
    ) -> None:
        super().__init__(membrane=membrane)
        self.threshold: Constant = constant(threshold)
        self._threshold(self.threshold)
        if reset not in RESETS:
            raise NeurofaError(f"got {self.name}(reset={reset}); expected {', '.join(RESETS)}; choose one")
        self.reset, self.delay = reset, delay
        self.surrogate: Surrogate = build("surrogate", surrogate)

    @property
    def spike_derivative(self) -> Surrogate:
        return self.surrogate

    def described(
        self, model: Literal["lif", "synaptic", "alif"], gated: bool, **parameters: DescribedConstant
    ) -> NeuronDescription:
        """Return the description for a model of the exported formats, with threshold and reset.

        Args:
            model: name of the model.
            gated: whether a reset to zero also drops the input current of its tick.
            parameters: value and meaning of the other parameters.
        """
        threshold = TensorDescription(meaning="threshold of the potential", axes=PER_OUTPUT)
        return NeuronDescription(
            model=model,
            parameters={**parameters, "threshold": (plain(self.threshold), threshold)},
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
        """Return the reset R: 1 where the potential before the tick exceeds the threshold, else 0; detached."""
        return (mem > here(self.threshold, mem)).to(mem.dtype).detach()

    def left_by(self, u: Tensor, v: Tensor, z: Tensor, fired: Tensor, state: State) -> tuple[State, State]:
        """Return the tensors recorded for :meth:`dynamics`, and the state after the tick.

        Args:
            u: (B, *shape) potential that is compared with the threshold.
            v: (B, *shape), u minus the threshold.
            z: (B, *shape), spikes.
            fired: (B, *shape), R.
            state: before the tick.
        """
        left, after = {"v": v.detach()}, {"mem": u}
        if self.reset == "zero":
            left["gate"] = 1 - fired
            # du_t / du_{t-1} without beta; "stays" is the share that an undelayed reset left of u_{t-1}
            left["kept"] = left["gate"] * state.get("stays", torch.ones_like(fired))
        if not self.delay and self.reset != "none":
            now = (z - fired).detach()  # R has reset u already; z - R resets the rest
            after["mem"] = u - now * here(self.threshold, u) if self.reset == "subtract" else u - now * u
            if self.reset == "zero":
                after["stays"] = 1 - now
        return left, after

    def derivative(self, left: State, like: Tensor) -> Tensor:
        return self.psi(left)

    def psi(self, left: State) -> Tensor:
        """Return the surrogate derivative of a spike in every tick, shaped as ``left['v']``.

        Args:
            left: tensors that the ticks recorded; v is the potential minus the threshold.
        """
        return self.surrogate.derivative(left["v"])
