"""Neurons of NIR in discrete time: the constants of this package's neurons, and the scale and offset of their input.

With u = v - v_reset, one tick of dt seconds is u <- beta u + gain I + drive, and after a spike u = 0. Euler's step has
beta = 1 - dt / tau and gain = R dt / tau; the exact solution for an input that is constant in the tick has
beta = exp(-dt / tau) and gain = R (1 - beta). In both drive = (1 - beta) (v_leak - v_reset). A synaptic current is
I <- alpha I + w_in (1 - alpha) S, before the potential, which receives the new current. NIR states no first potential;
neurons begin at v_reset, and those without a reset at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hwmodels.errors import NeurofaError
from neurofa.interop.nir.chain import Link
from neurofa.interop.nir.parameters import Values, collapsed, values_of
from neurofa.neurons.lif import LIF, LeakyIntegrator
from neurofa.neurons.synaptic import Synaptic
from neurofa.spiking.neuron import Neuron

Method = Literal["euler", "exact"]


@dataclass(frozen=True)
class Stage:
    """Neurons of one layer, whose input current is gain times that of the node, plus drive."""

    kind: Literal["lif", "synaptic", "leaky", "threshold"]
    gain: Values
    """(*shape)."""
    drive: Values
    """(*shape)."""
    beta: Values
    alpha: Values | None = None
    threshold: Values | None = None

    def in_shape(self, shape: tuple[int, ...]) -> Stage:
        """Return the same neurons in another shape."""
        values: dict[str, Any] = {
            key: value.reshape(shape) for key, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **values)

    def neuron(self, surrogate: str, divisor: Values | float = 1.0) -> Neuron:
        """Return the neuron.

        Args:
            surrogate: spec of the surrogate derivative of a spike.
            divisor: of the threshold, where the gain could not be multiplied into weights.
        """
        beta = collapsed(self.beta)
        if self.threshold is None:
            return LeakyIntegrator(kappa=beta)
        threshold = collapsed(self.threshold / divisor)
        if self.kind == "threshold":
            return LIF(beta=0.0, threshold=threshold, reset="none", surrogate=surrogate)
        if self.alpha is None:
            return LIF(beta=beta, threshold=threshold, reset="zero", delay=False, surrogate=surrogate)
        alpha = collapsed(self.alpha)
        return Synaptic(alpha=alpha, beta=beta, threshold=threshold, reset="zero", delay=False, surrogate=surrogate)


def needs_tick(kind: str) -> bool:
    """Return whether a type of nodes has time constants or integrates over time."""
    return kind in ("LIF", "CubaLIF", "IF", "LI", "CubaLI", "I", "Delay")


def stages_of(link: Link, dt: float, method: Method) -> list[Stage]:
    """Return the one or two layers of neurons that a node becomes.

    A ``CubaLI``, and a ``CubaLIF`` whose v_leak is not its v_reset, become a leaky integrator of the current and
    neurons behind it.

    Args:
        link: the node.
        dt: length of a tick, s; not used for a ``Threshold``.
        method: see :func:`neurofa.interop.nir.from_nir`.

    Raises:
        NeurofaError: constants that these neurons cannot have; the node is named.
    """
    node, shape, kind = link.node, link.out_shape, type(link.node).__name__
    given = {k: values_of(v, shape) for k, v in vars(node).items() if isinstance(v, np.ndarray | np.number | float)}
    zero = np.zeros(shape)
    if kind == "Threshold":
        # shifted where it is not positive, as all thresholds here are
        theta = given["threshold"]
        low = bool((theta <= 0).any())
        drive, theta = (1 - theta, np.ones(shape)) if low else (zero, theta)
        return [Stage("threshold", np.ones(shape), drive, zero, None, theta)]
    if kind in ("I", "IF"):
        beta, gain, leak = np.ones(shape), dt * given["r"], zero
    else:
        beta, share = _decay(link, "tau" if "tau" in given else "tau_mem", given, dt, method)
        gain, leak = given["r"] * share, given["v_leak"]
    fires = "v_threshold" in given
    reset = given["v_reset"] if fires else zero
    drive = (1 - beta) * (leak - reset)
    threshold = given["v_threshold"] - reset if fires else None
    if threshold is not None and bool((threshold <= 0).any()):
        raise NeurofaError(
            f"got v_threshold at or below v_reset in {kind} '{link.name}'; expected it above, since the neuron would"
            " fire in every tick without any input; raise v_threshold, or lower v_reset"
        )
    if "tau_syn" not in given:
        return [Stage("lif" if fires else "leaky", gain, drive, beta, None, threshold)]
    alpha, share = _decay(link, "tau_syn", given, dt, method)
    enters = given["w_in"] * share
    if fires and not drive.any():
        return [Stage("synaptic", enters * gain, drive, beta, alpha, threshold)]
    if link.loop is not None:
        raise NeurofaError(
            f"got recurrent weights at {kind} '{link.name}' with {'v_leak other than v_reset' if fires else 'outputs'};"
            f" expected {'both equal' if fires else 'spikes'}; {'set v_leak to v_reset' if fires else 'use an LI'}, or"
            " a LIF in its place"
        )
    last = Stage("lif" if fires else "leaky", gain, drive, beta, None, threshold)
    return [Stage("leaky", enters, zero, alpha), last]


def _decay(link: Link, key: str, given: dict[str, Values], dt: float, method: Method) -> tuple[Values, Values]:
    """Return the decay per tick, and the share of the input that enters in one."""
    tau, kind = given[key], type(link.node).__name__
    if bool((tau <= 0).any()):
        raise NeurofaError(
            f"got {key} of {float(tau.min()):g} s in {kind} '{link.name}'; expected above 0 s; correct the file"
        )
    if method == "exact":
        return np.exp(-dt / tau), -np.expm1(-dt / tau)
    if bool((tau < dt * (1 - 1e-9)).any()):
        raise NeurofaError(
            f"got a tick of {dt:g} s for {key} of {float(tau.min()):g} s in {kind} '{link.name}'; expected a tick that"
            " is not longer, for Euler's method; take a shorter dt, or method exact"
        )
    # the share of a tick as long as tau is 1, not 1 + rounding
    share = np.minimum(dt / tau, 1.0)
    return 1 - share, share
