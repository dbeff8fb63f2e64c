"""Comparison of a snnTorch model with the network imported from it, over several ticks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.view import State
from neurofa.interop.snntorch_parts import Part
from neurofa.maps.seeded import drawing
from neurofa.maps.wrapped import first_line
from neurofa.spiking.sequence import initial_states
from neurofa.training.learner import forward_pass

SAMPLES = 4
TICKS = 10
"""Ticks of a model that computes one tick a call and keeps its states."""
LOUD = 10.0
"""Standard deviation of the noise at the input, large enough for spikes in all layers."""
TOLERANCE = 1e-3
"""Relative to the largest potential: another order of summation differs by far less, other weights by far more."""
Potentials = dict[str, list[Tensor]]
"""Potentials of every layer's neurons after each call."""


@torch.no_grad()
def compare_ticks(model: nn.Module, network: Network, parts: Sequence[Part]) -> None:
    """Run a model on noise, and compare the potentials of all neurons after every tick, in both modes.

    A model that loops over time receives one constant input, and all of its ticks are compared. One that computes a
    tick in each call and keeps its states (``init_hidden=True``) receives another input in each of :data:`TICKS` calls.
    Of one that starts from rest in every call the only tick is compared. Dropout is off. One of the samples may
    differ, since rounding can move a potential across its threshold.

    Args:
        model: of snnTorch; its mode and hidden states are restored.
        network: imported from it, on exact devices; it is used up.
        parts: layers of the network with their source modules.

    Raises:
        NeurofaError: potentials differ (the first such neurons are named), or the model cannot be run.
    """
    neurons = {name: part for name, part in zip(network.names, parts, strict=True) if part.neuron is not None}
    with _untouched(model, [part.neuron for part in neurons.values()]):
        for training in (False, True):
            _compare(model, network, neurons, training=training)


def _compare(model: nn.Module, network: Network, neurons: Mapping[str, Part], *, training: bool) -> None:
    """Compare all ticks in one mode."""
    model.train(training)
    network.train(training)
    for part in neurons.values():
        part.neuron.reset_mem()
    gen = generator(0, "snntorch")
    like = next(network.parameters())
    inputs = [torch.randn(SAMPLES, *network.input_shape, generator=gen).to(like) * LOUD]
    theirs = _potentials(model, inputs[0], neurons)
    for name, part in neurons.items():
        if not theirs[name]:
            raise NeurofaError(
                f"got neurons '{part.name}' that forward never calls; expected a chain of all children; remove them"
            )
    calls = {name: len(theirs[name]) for name in neurons}
    first = next(iter(calls))
    for name, part in neurons.items():
        if calls[name] != calls[first]:
            raise NeurofaError(
                f"got {calls[name]} calls of '{part.name}' beside {calls[first]} of '{neurons[first].name}' in one"
                " forward; expected one call of every neuron in a tick; use check=False if it is one all the same"
            )
    if calls[first] > 1:
        inputs *= calls[first]
    elif all(part.neuron.init_hidden for part in neurons.values()):
        for _ in range(TICKS - 1):
            inputs.append(torch.randn(inputs[0].shape, generator=gen).to(like) * LOUD)
            for name, more in _potentials(model, inputs[-1], neurons).items():
                theirs[name] += more
    states: Mapping[str, State] = initial_states(network, SAMPLES)
    for tick, x in enumerate(inputs):
        states = (
            forward_pass(network, x, states=states, ticks=1).states
            if not training
            else _without_masks(network, x, states)
        )
        for name, part in neurons.items():
            _refuse_difference(part.name, tick, theirs[name][tick].to(like), states[name]["mem"])


def _without_masks(network: Network, x: Tensor, states: Mapping[str, State]) -> Mapping[str, State]:
    """Return the states after a tick in which nothing is dropped."""
    for _, layer in network.chain:
        if not layer.synapses:
            layer.eval()
    return forward_pass(network, x, states=states, ticks=1).states


def _refuse_difference(neuron: str, tick: int, theirs: Tensor, ours: Tensor) -> None:
    same = theirs.shape == ours.shape
    size = float(theirs.abs().max().clamp_min(1))
    if not same or int(((theirs - ours).flatten(1).abs().amax(1) > TOLERANCE * size).sum()) > 1:
        raise NeurofaError(
            f"got other potentials at '{neuron}' in tick {tick} than the model's own forward gives; expected a chain of"
            " its children in the order of their definition, a constant input, and nothing else in forward; write it as"
            " an nn.Sequential"
        )


def _potentials(model: nn.Module, x: Tensor, neurons: Mapping[str, Part]) -> Potentials:
    """Return the potentials of the model's neurons after each of their calls in one forward."""
    found: Potentials = {name: [] for name in neurons}
    hooks = [part.neuron.register_forward_hook(_keeper(found[name])) for name, part in neurons.items()]
    try:
        with drawing(x.device, None, globally=True):
            model(x)
    except (TypeError, RuntimeError, ValueError, AttributeError, IndexError) as error:
        raise NeurofaError(
            f"got a {type(model).__name__} that cannot run a batch of shape {tuple(x.shape)} ({first_line(error)});"
            " expected forward(x) of one tick or of a constant input; correct input_shape, or compare by yourself and"
            " use check=False"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _keeper(potentials: list[Tensor]) -> Callable[..., None]:
    """Return a hook that stores the potential after a neuron's call."""

    def keep(module: Any, *_: object) -> None:
        potentials.append(module.mem.detach().clone())

    return keep


@contextmanager
def _untouched(model: nn.Module, neurons: Sequence[Any]) -> Iterator[None]:
    """Restore the modes and hidden states of a model at the end."""
    modes = {module: module.training for module in model.modules()}
    kept = [{key: getattr(neuron, key) for key in ("mem", "syn", "spk") if hasattr(neuron, key)} for neuron in neurons]
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for neuron, states in zip(neurons, kept, strict=True):
            for key, value in states.items():
                setattr(neuron, key, value)
