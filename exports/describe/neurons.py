"""Neurons as dynamics of the neutral graph."""

from __future__ import annotations

from torch import Tensor

from exports.graph.arrays import Array
from exports.graph.neurons import NeuronDynamics
from neurofa.core.description import MemoryDescription, NeuronDescription

TICK = 1e-3
"""Length of a tick where the data do not say it, s: neurons are trained in ticks; only time constants in s need it."""


def neuron_dynamics(about: NeuronDescription, ones: Tensor, tick: float) -> NeuronDynamics:
    """Return the dynamics of one layer of neurons.

    Args:
        about: model, parameters and reset of its neurons.
        ones: (*out_shape) of ones, whose shape and dtype the parameters take.
        tick: length of a tick, s.
    """
    arrays = {
        key: Array(
            values=ones * (value.to(ones) if isinstance(value, Tensor) else value),
            meaning=tensor.meaning,
            axes=tensor.axes,
        )
        for key, (value, tensor) in about.parameters.items()
    }
    return NeuronDynamics(
        model=about.model,
        reset=about.reset,
        delay=about.delay,
        gated=about.gated,
        membrane=about.membrane,
        dt=tick,
        **arrays,
    )


def memory_constants(memory: MemoryDescription) -> dict[str, str]:
    """Return what learning, and not inference, needs to know of a layer with a memory.

    Args:
        memory: description of the layer's memory.

    Returns:
        Specs of the number format of its ``traces``, and of its ``surrogate`` derivative, if it has one.
    """
    surrogate = {} if memory.surrogate is None else {"surrogate": str(memory.surrogate.full_spec)}
    return {**surrogate, "traces": str(memory.traces.full_spec)}
