"""Errors for inputs, losses, potentials and directions that are not finite, with the layer and the remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.core.view import State


class NotFiniteError(NeurofaError):
    """A loss, potentials or directions that are not finite: the training diverges."""


def explain_loss(network: Network, loss: Tensor, x: Tensor, step: int, gen: torch.Generator | None) -> NoReturn:
    """Refuse a loss that is not finite, naming the first layer whose input or output is not finite.

    Args:
        network: the network that made the outputs.
        loss: 0-dim.
        x: (B, *input_shape), the batch.
        step: number of the step.
        gen: source of noise.

    Raises:
        NeurofaError: always.
    """
    if not bool(x.isfinite().all()):
        refuse_input(network)
    for name, layer in network.items():
        x = layer.compute(layer.synapses.read(gen), x, layer.fresh_state(x, gen))[0]
        if not bool(x.isfinite().all()):
            raise NotFiniteError(
                f"got NaN or infinity in the output of layer '{name}' at step {step}; expected finite"
                " numbers; lower the learning rate or the feedback gain"
            )
    raise NotFiniteError(
        f"got a loss of {float(loss)} at step {step} from finite outputs; expected a finite loss; lower the"
        " learning rate, or check the targets"
    )


def check_loss(network: Network, loss: Tensor, x: Tensor, step: int, gen: torch.Generator | None) -> None:
    """Refuse a loss that is not finite, naming the layer (:func:`explain_loss`); waits for the value of the loss.

    Args:
        network: the network that made the outputs.
        loss: 0-dim.
        x: (B, *input_shape), the batch.
        step: number of the step.
        gen: source of noise.

    Raises:
        NeurofaError: the loss is not finite.
    """
    if not math.isfinite(loss.item()):
        explain_loss(network, loss, x, step, gen)


def explain_memory(states: Mapping[str, State], first: int, ticks: int) -> None:
    """Refuse potentials that are not finite, which spikes would hide.

    Args:
        states: states after a chunk, by layer.
        first: first tick of the chunk.
        ticks: K, number of ticks.

    Raises:
        NeurofaError: naming the first such layer.
    """
    for name, state in states.items():
        for key, value in state.items():
            if value.device.type == "cpu" and not bool(value.sum().isfinite()):
                raise NotFiniteError(
                    f"got NaN or infinity in '{key}' of layer '{name}' in ticks {first} to {first + ticks - 1};"
                    " expected finite potentials; check the input, lower the learning rate or the feedback gain"
                )


def refuse_input(network: Network) -> NoReturn:
    """Refuse an input that is not finite.

    Raises:
        NeurofaError: always.
    """
    raise NeurofaError(
        f"got NaN or infinity in the input of layer '{network.names[0]}'; expected finite numbers; clean the data"
    )


def refuse_directions(layer: str, key: str, step: int) -> NoReturn:
    """Refuse directions that are not finite.

    Args:
        layer: name of the layer.
        key: name of the weight.
        step: number of the step.

    Raises:
        NeurofaError: always.
    """
    raise NotFiniteError(
        f"got directions of '{key}' of layer '{layer}' at step {step} that are NaN, infinite or too large for their"
        " number format; expected finite ones; lower the learning rate or the feedback gain, or scale the data"
    )


def refuse_later(step: int) -> NoReturn:
    """Refuse numbers that were not finite in one of the steps before.

    Args:
        step: number of the present step.

    Raises:
        NeurofaError: always.
    """
    raise NotFiniteError(
        f"got NaN or infinity in an input, a loss or a direction before step {step}; expected finite numbers; go back"
        " to the last checkpoint, clean the data, and lower the learning rate or the feedback gain"
    )


def refuse_loss(loss: Tensor, step: int) -> NoReturn:
    """Refuse a sequence's loss that is not finite.

    Args:
        loss: 0-dim.
        step: number of the step.

    Raises:
        NeurofaError: always.
    """
    raise NotFiniteError(
        f"got a loss of {float(loss)} at step {step}; expected a finite one; lower the learning rate"
        " or the feedback gain"
    )
