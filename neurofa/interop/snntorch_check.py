"""Comparison of a snnTorch model with the network imported from it, in the first tick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.interop.snntorch_parts import Part
from neurofa.spiking.sequence import initial_states
from neurofa.training.learner import forward_pass

SAMPLES = 4
LOUD = 10.0
"""Standard deviation of the noise at the input, large enough for spikes in all layers."""
TOLERANCE = 1e-3
"""Relative to the largest potential: another order of summation differs by far less, other weights by far more."""


@torch.no_grad()
def compare_first_tick(model: nn.Module, network: Network, parts: Sequence[Part]) -> None:
    """Run a model once on noise, and compare the potentials of all neurons after its first tick.

    Args:
        model: of snnTorch; its mode and hidden states are restored.
        network: imported from it, on exact devices.
        parts: layers of the network with their source modules.

    Raises:
        NeurofaError: potentials differ (the first such neurons are named), or the model cannot be run.
    """
    neurons = {name: part for name, part in zip(network.names, parts, strict=True) if part.neuron is not None}
    x = torch.randn(SAMPLES, *network.input_shape, generator=generator(0, "snntorch")) * LOUD
    potentials = _first_tick(model, x, neurons)
    training = network.training
    network.eval()
    after = forward_pass(network, x, states=initial_states(network, SAMPLES), ticks=1).states
    network.train(training)
    for name, part in neurons.items():
        theirs, ours = potentials.get(name), after[name]["mem"]
        if theirs is None:
            raise NeurofaError(
                f"got neurons '{part.name}' that forward never calls; expected a chain of all children; remove them"
            )
        same = theirs.shape == ours.shape
        if not same or float((theirs - ours).abs().max()) > TOLERANCE * float(theirs.abs().max().clamp_min(1)):
            raise NeurofaError(
                f"got other potentials at '{part.name}' than the model's own forward gives; expected a chain of its"
                " children in the order of their definition, and nothing else in forward; write it as an nn.Sequential"
            )


def _first_tick(model: nn.Module, x: Tensor, neurons: dict[str, Part]) -> dict[str, Tensor]:
    """Return the potentials of the model's neurons after their first call, by layer."""
    potentials: dict[str, Tensor] = {}
    like = next(model.parameters())
    with _untouched(model, [part.neuron for part in neurons.values()]):
        hooks = [part.neuron.register_forward_hook(_keeper(potentials, name)) for name, part in neurons.items()]
        try:
            model(x.to(like))
        except (TypeError, RuntimeError, ValueError, AttributeError, IndexError) as error:
            raise NeurofaError(
                f"got a {type(model).__name__} that cannot run a batch of shape {tuple(x.shape)}"
                f" ({str(error).splitlines()[0] if str(error) else type(error).__name__}); expected forward(x) of one"
                " tick or of a constant input; correct input_shape, or compare by yourself and use check=False"
            ) from None
        finally:
            for hook in hooks:
                hook.remove()
    return potentials


def _keeper(potentials: dict[str, Tensor], name: str) -> Callable[..., None]:
    """Return a hook that stores the potential after a neuron's first call."""

    def keep(module: Any, *_: object) -> None:
        if name not in potentials:
            potentials[name] = module.mem.detach().cpu().clone()

    return keep


@contextmanager
def _untouched(model: nn.Module, neurons: Sequence[Any]) -> Iterator[None]:
    """Put a model into evaluation mode with reset neurons; restore modes and hidden states at the end."""
    modes = {module: module.training for module in model.modules()}
    kept = [{key: getattr(neuron, key) for key in ("mem", "syn", "spk") if hasattr(neuron, key)} for neuron in neurons]
    model.eval()
    for neuron in neurons:
        neuron.reset_mem()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for neuron, states in zip(neurons, kept, strict=True):
            for key, value in states.items():
                setattr(neuron, key, value)
