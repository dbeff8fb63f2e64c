"""The local view of a layer: its input, state, output and weights in one tick, and the error delivered to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from neurofa.core.directions import Directions, ReturnWeights

Params = Mapping[str, Tensor]
"""A layer's own weights as read in a pass, by name."""

State = dict[str, Tensor]
"""Tensors of a layer before or after one tick, by name (potentials, masks, normalisation statistics)."""


class Graph(NamedTuple):
    """Autograd graph of one layer in one tick, on detached leaves; it never spans two layers."""

    y: Tensor
    """(B, *out_shape): output, with its graph."""
    x: Tensor
    """(B, *in_shape): leaf of the input."""
    params: dict[str, Tensor]
    """Leaves of the weights, by name."""
    inner: dict[str, Tensor]
    """Errors at the outputs of the affine maps inside, by weight; filled by the backward pass through the graph."""


@dataclass(frozen=True, slots=True)
class LocalView:
    """All data from which a layer learns; every tensor is detached.

    The forward pass fills ``x`` to ``filter_decay``. The rule delivers ``error``. The layer computes the last four
    fields from the others. A changed view is made by ``dataclasses.replace``.
    """

    x: Tensor
    """(B, *in_shape): own input."""
    y: Tensor
    """(B, *out_shape): own output."""
    params: Params
    """Own weights as read in this pass."""
    before: State = field(default_factory=dict)
    """Own state before the tick."""
    after: State = field(default_factory=dict)
    """Own state after the tick."""
    return_weights: ReturnWeights | None = None
    """Return weights of this layer (chained rules only), shaped as ``params`` or factored."""
    graph: Graph | None = None
    """Own autograd graph, for layers without a closed form."""
    second_pass: LocalView | None = None
    """View of the same layer in a second pass (rules that declare one)."""
    filter_decay: float = 0.0
    """kappa: decay per tick of the filter through which errors arrive (sequences; 0: no filter)."""
    error: Tensor | None = None
    """(B, *out_shape): delivered error, per sample, unreduced."""
    delta: Tensor | None = None
    """(B, channels, ...): error at the affine output, before activation and normalisation."""
    partial: Directions = field(default_factory=dict)
    """Directions computed together with ``delta``."""
    input_error: Tensor | None = None
    """(B, *in_shape): error at the own input, if it was computed together with ``delta``; see the layer."""
    inner: Mapping[str, Tensor] = field(default_factory=dict)
    """Errors at the outputs of the affine maps inside, by weight (layers of several maps with return weights)."""


class Tick(NamedTuple):
    """One pass through a network: output, and the view of every layer."""

    y: Tensor
    """(B, o): output."""
    views: dict[str, LocalView]
    """View of every layer by name, from input to readout."""
    states: dict[str, State] = {}  # noqa: RUF012 (never changed)
    """Of a chunk: states of the layers with a memory after the last tick, without traces."""
    ready: bool = False
    """Whether the extra passes that the rule declares have been made."""
