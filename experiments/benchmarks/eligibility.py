"""Eligibility of one weight, tick by tick."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.dynamics import Coefficient
from neurofa.core.event_rows import dense_rows
from neurofa.core.view import LocalView
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import Learner


def eligibility_trace(learner: Learner, name: str, view: LocalView, neuron: int, source: int) -> list[float]:
    """Return the eligibility trace of one weight, tick by tick, as the rule of the learner computes it.

    It is e_t = c_t . eps_t with eps_t = M_t eps_(t-1) + g_t x_t: eps is the derivative of the neuron's state by the
    weight, x_t the input, and M_t, g_t, c_t are the coefficients ``move``, ``enter`` and ``out`` of the neuron's
    linearised dynamics (:mod:`neurofa.core.dynamics`).

    Args:
        learner: learner with the network.
        name: of a fully connected layer of neurons.
        view: what this layer sees in T ticks of one sample.
        neuron: index of the neuron at the weight's output.
        source: index of the input that the weight multiplies.

    Returns:
        e_t of the T ticks.

    Raises:
        NeurofaError: a layer without neurons.
    """
    layer, rule = learner.network.layer(name), learner.rule
    if not isinstance(layer, Temporal):
        raise NeurofaError(f"got layer '{name}' of kind {layer.name}; expected one of neurons; name another layer")
    own = rule.declares.eligibility
    if own is not None:
        dynamics = own.dynamics(name, layer, view)
    else:
        states = {key: as_ticks(view.after[key], 1) for key in layer.neuron.leaves if key in view.after}
        dynamics = layer.neuron.dynamics(states)
    memories = range(len(dynamics.enter))
    eps = [0.0 for _ in memories]
    trace = []

    def at(coefficient: Coefficient, t: int) -> float:
        return float(coefficient[t, 0, neuron]) if isinstance(coefficient, Tensor) else coefficient

    for t, x in enumerate(dense_inputs(view)[:, source].tolist()):
        eps = [
            sum((at(dynamics.move[a][b], t) * eps[b] for b in memories), at(dynamics.enter[a], t) * x) for a in memories
        ]
        trace.append(sum(at(dynamics.out[a], t) * eps[a] for a in memories))
    return trace


def low_pass(values: Sequence[float], decay: float) -> list[float]:
    """Return a sequence x behind a leaky filter, y_t = decay y_(t-1) + x_t, with y = 0 before the first."""
    filtered, kept = list[float](), 0.0
    for value in values:
        kept = decay * kept + value
        filtered.append(kept)
    return filtered


def dense_inputs(view: LocalView) -> Tensor:
    """Return the inputs of a view as a dense tensor, (T, n_in) or (T, C, H, W)."""
    return dense_rows(view.x) if view.x.layout == torch.sparse_csr else view.x
