"""The backward phase: from the error at the output to the directions of every layer.

Runs on views alone, so that it can be replayed: the audit poisons the network between two replays, and the
diagnostics send the same tick through another rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from neurofa.core.layer import Carrier, Directions, Layer, LocalView
from neurofa.core.network import Network, Tick
from neurofa.core.rule import Rule, Teaching

Emit = Callable[[str, Layer, LocalView, Directions], None]
"""Called for every layer that learns, from the readout down."""


def assign(
    network: Network,
    rule: Rule,
    tick: Tick,
    teaching: Teaching,
    emit: Emit,
    gen: torch.Generator | None = None,
    *,
    release: bool = False,
) -> None:
    """Let the rule assign credit to every layer of one tick.

    Args:
        network: for the order of the layers.
        rule: bound to the network.
        tick: from :meth:`Network.step`.
        teaching: error (B, o) and target (B, o).
        emit: receives the directions, summed over the batch, as soon as they are known.
        gen: source of the pathway's read noise and stochastic rounding.
        release: take each view out of the tick when its turn comes, so that its memory is free for the next.
    """
    rule.begin(teaching, gen)
    above: Tensor | None = None
    for name, layer in reversed(list(network.items())):
        view = tick.views.pop(name) if release else tick.views[name]
        if isinstance(layer, Carrier) or not view.params:
            above = _carry(layer, view, above) if above is not None else above
        else:
            offered = replace(teaching, above=above, view=view)
            last, lowest = name == network.readout, name == network.lowest
            above = _learn(name, layer, view, rule, offered, emit, gen, last=last, lowest=lowest)


def _learn(
    name: str,
    layer: Layer,
    view: LocalView,
    rule: Rule,
    teaching: Teaching,
    emit: Emit,
    gen: torch.Generator | None,
    *,
    last: bool,
    lowest: bool,
) -> Tensor | None:
    """Serve one layer; what it needed is free again when the next one begins. Returns the error for the one below."""
    if last:
        view = layer.localise(view.given(rule.conclude(teaching)))
    else:
        error = rule.deliver(name, teaching)
        if error is None:
            return teaching.above
        view = rule.localise(name, layer, view.given(error))
    directions = rule.update(name, layer, view)
    above = None
    if rule.chained and not lowest:
        sent = _encoded(layer, view, rule, teaching, gen) if last else view
        above = None if sent.returns is None else layer.transpose(sent, sent.returns)
    emit(name, layer, view, directions)
    return above


def _carry(layer: Layer, view: LocalView, above: Tensor) -> Tensor:
    seen = layer.localise(view.given(above))
    return layer.transpose(seen, {})


def _encoded(layer: Layer, view: LocalView, rule: Rule, teaching: Teaching, gen: torch.Generator | None) -> LocalView:
    """The readout's view as the return path sees it: with the encoded error."""
    if rule.encoder.name == "raw":
        return view
    return layer.localise(replace(view, error=rule.encoder.quantize(teaching.error, gen), delta=None, below=None))
