"""Counts of what a learner needs: connections, signs, pieces of a derivative, learning state."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from neurofa.core.layer import Layer
from neurofa.core.rule import Rule
from neurofa.maps.affine import Affine
from neurofa.spiking.neuron import Firing
from neurofa.spiking.temporal import Temporal

SMOOTH = 64
"""Different values of a derivative on the grid from which on it counts as smooth."""


def connections(layer: Layer, out_shape: tuple[int, ...]) -> int:
    """Connections of one layer: every output of an affine map has all its inputs, whether weights are shared or not."""
    if isinstance(layer, Affine):
        return sum(fan_in(layer)) * math.prod(out_shape)
    return sum(w.numel() for w in layer.synapses.stored().values() if w.dim() > 1)


def fan_in(layer: Affine) -> list[int]:
    """Connections into one output of a layer of one affine map, and those from the neurons beside it."""
    among = [layer.map.channels] if isinstance(layer, Temporal) and layer.recurrent else []
    return [math.prod(layer.map.weight_shape[1:]), *among]


def mixed_sources(matrices: list[Tensor]) -> tuple[int, int]:
    """Columns (source neurons) of all matrices that hold weights of both signs, and all columns."""
    mixed = total = 0
    for w in matrices:
        columns = w.flatten(2).transpose(1, 2).flatten(0, 1) if w.dim() > 2 else w
        mixed += int(((columns > 0).any(0) & (columns < 0).any(0)).sum())
        total += columns.shape[1]
    return mixed, total


def derivatives(rule: Rule, layers: dict[str, Layer]) -> dict[str, float]:
    """Constant pieces of g (augmented rules), or of every hidden f' or spike's psi, counted on a grid over [-8, 8]."""
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    other = getattr(rule, "g", None)
    if callable(other):
        return {"g": pieces(other(grid))}
    found: dict[str, float] = {}
    for layer in list(layers.values())[:-1]:
        if isinstance(layer, Temporal) and isinstance(layer.neuron, Firing):
            surrogate = layer.neuron.surrogate
            found[surrogate.name] = pieces(surrogate.derivative(grid.clone()))
        elif isinstance(layer, Affine):
            f = layer.activation
            kept = grid.clone() if f.needs_input else f.forward(grid.clone())
            found[f.name] = pieces(f.backward(torch.ones_like(grid), kept))
        else:
            found[layer.name] = math.inf  # whatever is inside, the block pulls back by its exact derivative
    return found


def pieces(values: Tensor) -> float:
    """Stretches of one value; infinite where there are too many to be pieces."""
    jumps = int((values.diff().abs() > 1e-9).sum())
    return jumps + 1.0 if jumps < SMOOTH else math.inf


def state_per_weight(optimizer: torch.optim.Optimizer) -> int:
    """Numbers that an optimizer keeps beside every weight, found by letting a copy of it take a step.

    Args:
        optimizer: left as it is.
    """
    twin = copy.deepcopy(optimizer)
    first: nn.Parameter = twin.param_groups[0]["params"][0]
    for group in twin.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    first.grad = torch.zeros_like(first)
    type(twin).step(twin)  # not twin.step: a scheduler binds that one to the original
    return sum(isinstance(kept, Tensor) and kept.shape == first.shape for kept in twin.state[first].values())
