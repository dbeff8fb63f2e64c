"""The view of a layer: its own input, state, output and weights in one tick, and the error delivered to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from neurofa.core.directions import Directions, ReturnWeights

Params = Mapping[str, Tensor]
"""A layer's own weights as this pass read them, by name."""

State = dict[str, Tensor]
"""Tensors that a layer keeps around one tick, by name (membranes, masks, normalisation statistics)."""


class Graph(NamedTuple):
    """A layer's own autograd graph of one tick, on detached leaves: never longer than the layer."""

    y: Tensor
    x: Tensor
    params: dict[str, Tensor]
    inner: dict[str, Tensor]
    """Errors at the outputs of the affine maps inside, by weight; filled when an error has gone through the graph."""


@dataclass(frozen=True, slots=True)
class LocalView:
    """Everything that a layer may see when it learns; every tensor is detached.

    The forward pass fills ``x`` to ``filter_decay``; ``error`` is what the rule delivers; the last four are computed by
    the layer itself from the others. A view is changed by ``dataclasses.replace``.
    """

    x: Tensor
    """(B, *in_shape): own input."""
    y: Tensor
    """(B, *out_shape): own output."""
    params: Params
    """Own weights, as this pass read them."""
    before: State = field(default_factory=dict)
    """Own state before the tick."""
    after: State = field(default_factory=dict)
    """Own state after the tick."""
    return_weights: ReturnWeights | None = None
    """Weights of the return path beside this layer (chained rules only), shaped as ``params`` or factored."""
    graph: Graph | None = None
    """Own autograd graph, for layers without a closed form."""
    second_pass: LocalView | None = None
    """The same layer in a second pass (rules that ask for one)."""
    filter_decay: float = 0.0
    """kappa: decay of the filter through which errors arrive (ticks of a sequence; 0: no filter)."""
    error: Tensor | None = None
    """(B, *out_shape): delivered error, per sample, unreduced."""
    delta: Tensor | None = None
    """(B, channels, ...): error at the affine output, before activation and normalisation."""
    partial: Directions = field(default_factory=dict)
    """Directions that were computed on the way to ``delta``."""
    input_error: Tensor | None = None
    """(B, *in_shape): error at the own input, where it was computed on the way."""
    inner: Mapping[str, Tensor] = field(default_factory=dict)
    """Errors at the outputs of the affine maps inside, by weight (layers of several maps with return weights)."""


class Tick(NamedTuple):
    """One pass through a network: its output, and the view of every layer."""

    y: Tensor
    """(B, o)."""
    views: dict[str, LocalView]
    """By layer, from input to readout."""
    states: dict[str, State] = {}  # noqa: RUF012 (never changed)
    """Of a chunk: states of the layers with a memory after its last tick, without traces."""
    ready: bool = False
    """Whether the passes that a rule asks for beside this one have been made."""
