"""Neurons as dynamics of the neutral graph: one adapter a model, as in :mod:`exports.describe.layers` for layers."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from exports.graph.arrays import Array
from exports.graph.neurons import NeuronDynamics
from hwmodels.errors import NeurofaError
from hwmodels.registry import Registered, options
from hwmodels.spec import Spec
from neurofa.neurons.alif import ALIF
from neurofa.neurons.leaky import LeakyIntegrator
from neurofa.neurons.lif import LIF
from neurofa.neurons.synaptic import Synaptic
from neurofa.spiking.neuron import Firing, Neuron
from neurofa.spiking.temporal import Temporal

TICK = 1e-3
"""Length of a tick where nothing says it, s: neurons are trained in ticks, and only time constants in s ask for it."""


@functools.singledispatch
def describe_neuron(neuron: Neuron, name: str, ones: Tensor, tick: float) -> NeuronDynamics:  # noqa: ARG001
    """The dynamics of one layer of neurons.

    Args:
        neuron: decides by its class which adapter is called.
        name: of the layer, for messages.
        ones: (*out_shape) of ones, whose shape and dtype the parameters take.
        tick: length of a tick, s.

    Raises:
        NeurofaError: no adapter is registered for its class.
    """
    raise NeurofaError(
        f"got '{neuron.name}' neurons at '{name}' for export; expected a model with an adapter; register one with"
        " exports.describe.neurons.describe_neuron.register"
    )


def spec_of_part(part: Registered) -> str:
    """The spec that builds a part with plain options again, such as a surrogate or a number format."""
    return str(Spec(part.name, {key: getattr(part, key) for key in options(type(part))}))


def constants(layer: Temporal) -> dict[str, Any]:
    """What a rule uses of a layer's memory and inference does not: its surrogate derivative and format of traces."""
    surrogate = {"surrogate": spec_of_part(layer.neuron.surrogate)} if isinstance(layer.neuron, Firing) else {}
    return {**surrogate, "traces": spec_of_part(layer.traces)}


def _membrane(neuron: Neuron) -> str:
    return "raw" if neuron.membrane.name == "raw" else spec_of_part(neuron.membrane)


def _decay(ones: Tensor, value: float, what: str) -> Array:
    return Array(values=ones * value, meaning=f"decay of {what} in one tick", axes="(*out_shape)")


def _firing(neuron: Firing, ones: Tensor, tick: float) -> dict[str, Any]:
    threshold = Array(values=ones * neuron.threshold, meaning="threshold of the potential", axes="(*out_shape)")
    return {
        "threshold": threshold, "reset": neuron.reset, "delay": neuron.delay, "membrane": _membrane(neuron), "dt": tick,
    }  # fmt: skip


@describe_neuron.register
def _(neuron: LIF, name: str, ones: Tensor, tick: float) -> NeuronDynamics:  # noqa: ARG001
    beta = _decay(ones, neuron.beta, "the potential")
    return NeuronDynamics(model="lif", beta=beta, gated=neuron.gated, **_firing(neuron, ones, tick))


@describe_neuron.register
def _(neuron: Synaptic, name: str, ones: Tensor, tick: float) -> NeuronDynamics:  # noqa: ARG001
    # a reset to zero multiplies the whole new potential, the current of its tick with it
    return NeuronDynamics(
        model="synaptic", beta=_decay(ones, neuron.beta, "the potential"),
        alpha=_decay(ones, neuron.alpha, "the synaptic current"), gated=True, **_firing(neuron, ones, tick),
    )  # fmt: skip


@describe_neuron.register
def _(neuron: ALIF, name: str, ones: Tensor, tick: float) -> NeuronDynamics:  # noqa: ARG001
    kappa = Array(values=ones * neuron.gain, meaning="what one unit of adaptation adds to the threshold")
    return NeuronDynamics(
        model="alif", beta=_decay(ones, neuron.beta, "the potential"), rho=_decay(ones, neuron.rho, "the adaptation"),
        kappa=kappa, **_firing(neuron, ones, tick),
    )  # fmt: skip


@describe_neuron.register
def _(neuron: LeakyIntegrator, name: str, ones: Tensor, tick: float) -> NeuronDynamics:  # noqa: ARG001
    beta = _decay(ones, neuron.kappa, "the output")
    return NeuronDynamics(model="leaky", beta=beta, reset="none", membrane=_membrane(neuron), dt=tick)
