"""Backpropagation through time: the control for sequences. It keeps every tick, and is neither local nor online."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import Events, as_ticks
from neurofa.core.layer import Directions, State
from neurofa.core.network import Network
from neurofa.maps.affine import Affine
from neurofa.spiking.sequence import check_memory, parts, rest
from neurofa.spiking.temporal import Temporal

if TYPE_CHECKING:
    from neurofa.training.learner import Learner
    from neurofa.training.targets import Lesson


def learn_through_time(learner: Learner, xs: Tensor | Events, lesson: Lesson) -> tuple[Tensor, Tensor]:
    """One update by autograd through all ticks and layers, with surrogate derivatives; resets are constants.

    Args:
        learner: whose rule asked for it.
        xs: (T, B, *input_shape) or events.
        lesson: targets and taught ticks.

    Returns:
        Mean loss and mean output at the taught ticks.

    Raises:
        NeurofaError: NaN, naming the layer, before any weight is touched; a periphery; a device that plays samples.
    """
    network = learner.network
    for name, layer in network.items():
        if isinstance(layer, Affine) and layer.arrays is not None:
            raise NeurofaError(
                f"got a periphery around layer '{name}' for backpropagation through time; expected exact products,"
                " which have a derivative; use periphery exact, or another rule such as eprop"
            )
    learner.deposit.refuse_factored("directions that are sums over all ticks", "use dfa or another device")
    read = {name: layer.read(learner.gen) for name, layer in network.items()}
    leaves = {name: {k: w.detach().requires_grad_() for k, w in params.items()} for name, params in read.items()}
    with torch.enable_grad():
        outputs, states = _outputs(network, xs, leaves, learner.gen)
    check_memory(states, 0, xs.shape[0])
    y = torch.stack([out.detach() for out in outputs])
    taught = lesson.at(0, xs.shape[0])
    assert taught is not None
    rows, target = taught
    outcome = learner.loss.evaluate(y.flatten(0, 1)[rows], target[rows])
    errors = as_ticks(outcome.error * lesson.share, lesson.batch).unbind(0)
    wanted = [(name, key, leaf) for name, params in leaves.items() for key, leaf in params.items()]
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        outputs[lesson.begin : lesson.end], [leaf for *_, leaf in wanted], errors, allow_unused=True
    )
    for name, layer in network.items():
        found: Directions = {
            key: leaf.new_zeros(leaf.shape) if g is None else g
            for (owner, key, leaf), g in zip(wanted, gradients, strict=True)
            if owner == name
        }
        if found:
            learner.deposit.layer(layer, found, lesson.batch)
    learner.deposit.finish()
    return outcome.value, y[lesson.begin : lesson.end].mean(0)


def _outputs(
    network: Network, xs: Tensor | Events, leaves: dict[str, dict[str, Tensor]], gen: torch.Generator
) -> tuple[list[Tensor], dict[str, State]]:
    states: dict[str, State] = rest(network, xs.shape[1])
    found = []
    for _, _, rows in parts(network, xs, 1):
        x = dense_rows(rows) if rows.layout == torch.sparse_csr else rows
        for name, layer in network.items():
            before = {**states.get(name, {}), **layer.start(x, gen)}
            x, after = layer.compute(leaves[name], x, before)
            if isinstance(layer, Temporal):
                kept = before.keys() & after.keys()
                states[name] = {key: after[key] for key in kept}
            elif network.training:
                layer.absorb({key: value.detach() for key, value in after.items()})
        found.append(x)
    return found, states
