"""Backpropagation through time, the control for sequences: all ticks are stored; it is neither local nor online."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.directions import Directions
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import Events
from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.core.view import State
from neurofa.maps.affine import Affine
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.sequence import chunks, initial_states
from neurofa.spiking.temporal import Temporal
from neurofa.training.finite import explain_memory
from neurofa.training.targets import TargetSchedule


def learn_through_time(
    network: Network,
    loss: Loss,
    xs: Tensor | Events,
    schedule: TargetSchedule,
    gen: torch.Generator,
) -> tuple[Tensor, Tensor, dict[str, Directions]]:
    """Return loss, output and directions by backpropagation through time, with surrogates and constant resets.

    Args:
        network: the network that learns.
        loss: loss of the run.
        xs: (T, B, *input_shape) or events.
        schedule: targets and taught ticks.
        gen: source of dropout masks and read noise.

    Returns:
        Mean loss, 0-dim; mean output at the taught ticks, (B, o); and the directions of every layer, summed over the
        batch.

    Raises:
        NeurofaError: NaN (the layer is named), before any weight changes; a periphery.
    """
    for name, layer in network.items():
        if isinstance(layer, Affine) and layer.arrays is not None:
            raise NeurofaError(
                f"got a periphery around layer '{name}' for backpropagation through time; expected exact products,"
                " which have a derivative; use periphery exact, or another rule such as eprop"
            )
    read = {name: layer.synapses.read(gen) for name, layer in network.items()}
    leaves = {name: {k: w.detach().requires_grad_() for k, w in params.items()} for name, params in read.items()}
    with torch.enable_grad():
        outputs, states = _outputs(network, xs, leaves, gen)
    explain_memory(states, 0, xs.shape[0])
    y = torch.stack([out.detach() for out in outputs])
    taught = schedule.at(0, xs.shape[0])
    assert taught is not None
    rows, target = taught
    outcome = loss.of_ticks(y.flatten(0, 1)[rows], target[rows], schedule.batch)
    errors = as_ticks(outcome.error * schedule.share, schedule.batch).unbind(0)
    weights = [(name, key, leaf) for name, params in leaves.items() for key, leaf in params.items()]
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        outputs[schedule.begin : schedule.end], [leaf for *_, leaf in weights], errors, allow_unused=True
    )
    directions: dict[str, Directions] = {}
    for (name, key, leaf), gradient in zip(weights, gradients, strict=True):
        own = directions.setdefault(name, {})
        own[key] = leaf.new_zeros(leaf.shape) if gradient is None else gradient
    return outcome.value, y[schedule.begin : schedule.end].mean(0), directions


def _outputs(
    network: Network, xs: Tensor | Events, leaves: dict[str, dict[str, Tensor]], gen: torch.Generator
) -> tuple[list[Tensor], dict[str, State]]:
    """Return the outputs of all ticks, with their graph, and the last states of the layers with a memory."""
    states: dict[str, State] = initial_states(network, xs.shape[1])
    outputs = []
    for _, _, rows in chunks(network, xs, 1):
        x = dense_rows(rows) if rows.layout == torch.sparse_csr else rows
        for name, layer in network.items():
            before = {**states.get(name, {}), **layer.fresh_state(x, gen)}
            x, after = layer.compute(leaves[name], x, before)
            if isinstance(layer, Temporal):
                # only the state variables: what a tick records for closed forms is not needed
                states[name] = {key: after[key] for key in before.keys() & after.keys()}
            elif network.training:
                layer.update_running_stats({key: value.detach() for key, value in after.items()})
        outputs.append(x)
    return outputs, states
