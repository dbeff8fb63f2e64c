"""Resets that NIR cannot express: neurons converted to reset to zero, with the measured change of their spikes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from exports.graph.model import Model
from exports.graph.neurons import NeuronDynamics, SpikingNode
from exports.graph.nodes import Node
from exports.graph.reference import run_ticks
from neurofa.core.randomness import generator

TICKS, SAMPLES, RATE = 50, 16, 0.3
"""Ticks, samples and rate of the random spikes with which a change of the reset is measured."""


@dataclass(frozen=True)
class ResetMismatch:
    """How much the spikes of one layer change when its neurons reset in another way."""

    layer: str
    share: float
    """Share of all slots (tick, sample, neuron) in which the spikes differ, 0 to 1."""
    spikes: tuple[int, int]
    """Spikes of the layer before and after the change."""


def resets_to_zero(neuron: NeuronDynamics) -> bool:
    """Return whether NIR can express the reset: to zero without loss of the next drive, or none where none is felt."""
    forgets = neuron.model == "lif" and neuron.reset == "none" and not bool(neuron.beta.values.any())
    return not neuron.spikes or forgets or (neuron.reset == "zero" and not neuron.skips)


def with_zero_reset(model: Model) -> Model:
    """Return the model as NIR can express it: neurons that reset in another way reset to zero."""

    def converted(node: Node) -> Node:
        if isinstance(node, SpikingNode) and not resets_to_zero(node.neuron):
            return replace(node, neuron=replace(node.neuron, reset="zero", gated=False))
        return node

    return replace(model, nodes=tuple(converted(node) for node in model.nodes))


def measure_mismatch(model: Model, changed: Model, inputs: Tensor | None) -> list[ResetMismatch]:
    """Run two models of the same layers on the same input, and count in every layer where their spikes differ.

    Args:
        model: before the change.
        changed: after the change.
        inputs: (T, B, *input_shape) spikes; None: random ones.
    """
    shape = (TICKS, SAMPLES, *model.input_shape)
    xs = (torch.rand(shape, generator=generator(0, "reset")) < RATE).float() if inputs is None else inputs
    before, after = run_ticks(model, xs)[1], run_ticks(changed, xs)[1]
    return [
        ResetMismatch(name, float((z != after[name]).float().mean()), (int(z.sum()), int(after[name].sum())))
        for name, z in before.items()
    ]
