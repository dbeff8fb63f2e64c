"""The backward phase: from the error at the output to the directions of every layer.

Runs on views alone, so that it can be replayed: the audit poisons the network between two replays, and the
diagnostics send the same tick through another rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from neurofa.layer import Carrier, Directions, Layer, LocalView
from neurofa.network import Network, Tick
from neurofa.rule import Rule, Teaching

Emit = Callable[[str, Layer, LocalView, Directions], None]
"""Called for every layer that learns, from the readout down."""


def assign(
    network: Network, rule: Rule, tick: Tick, teaching: Teaching, emit: Emit, gen: torch.Generator | None = None
) -> None:
    """Let the rule assign credit to every layer of one tick.

    Args:
        network: for the order of the layers.
        rule: bound to the network.
        tick: from :meth:`Network.step`.
        teaching: error (B, o) and target (B, o).
        emit: receives the directions, summed over the batch, as soon as they are known.
        gen: source of the pathway's read noise and stochastic rounding.
    """
    rule.begin(teaching, gen)
    chained, above = rule.chained, None
    names = network.names
    for index in range(len(names) - 1, -1, -1):
        name, layer, view = names[index], network.layer(names[index]), tick.views[names[index]]
        if isinstance(layer, Carrier) or not view.params:
            above = _carry(layer, view, above) if chained and above is not None and index else above
            continue
        last = name == network.readout
        if last:
            view = layer.localise(replace(view, error=teaching.error))
        else:
            error = rule.deliver(name, replace(teaching, above=above) if chained else teaching)
            if error is None:
                continue
            view = rule.localise(layer, replace(view, error=error))
        directions = rule.update(layer, view)
        if chained and index:
            sent = _encoded(layer, view, rule, teaching, gen) if last else view
            assert sent.returns is not None
            above = layer.transpose(sent, sent.returns)
        emit(name, layer, view, directions)


def _carry(layer: Layer, view: LocalView, above: Tensor) -> Tensor:
    seen = layer.localise(replace(view, error=above))
    return layer.transpose(seen, {})


def _encoded(layer: Layer, view: LocalView, rule: Rule, teaching: Teaching, gen: torch.Generator | None) -> LocalView:
    """The readout's view as the return path sees it: with the encoded error."""
    if rule.encoder.name == "raw":
        return view
    return layer.localise(replace(view, error=rule.encoder.quantize(teaching.error, gen), delta=None, below=None))
