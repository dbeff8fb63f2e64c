"""Passes beside the one that a network learns from: a rule asks for them, the learner makes them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from neurofa.core.layer import Params
from neurofa.core.network import Network, Tick
from neurofa.core.rule import Rule, Teaching
from neurofa.training.probe import repeated, send


def prepare(network: Network, rule: Rule, tick: Tick, teaching: Teaching, gen: torch.Generator | None) -> Tick:
    """Make the second pass and the probes that the rule asks for, once a tick.

    Args:
        network: which made ``tick``.
        rule: bound to it; it senses the probes.
        tick: from :meth:`Network.step`.
        teaching: error and target of the tick.
        gen: source of changes and noise.

    Returns:
        The tick, whose views hold the second pass where there was one; that of the readout holds its error as well.
    """
    if tick.ready:
        return tick
    views = tick.views
    lowest = next(iter(views.values()))
    x = rule.modulate(lowest.x, teaching.error, gen)
    if x is not None:
        states = {name: repeated(layer, views[name], gen) for name, layer in network.items()}
        second = network.step(x, gen=gen, states=states, below=False)
        views = {name: replace(view, again=second.views[name]) for name, view in views.items()}
        if teaching.judge is not None:
            seen = second.views[network.readout].given(teaching.judge(second.y))
            views[network.readout] = replace(views[network.readout], again=seen)
    ready = Tick(tick.y, views, ready=True)
    if rule.probe is not None:
        _probe(network, rule, ready, teaching, gen)
    return ready


def _probe(network: Network, rule: Rule, tick: Tick, teaching: Teaching, gen: torch.Generator | None) -> None:
    assert rule.probe is not None
    added: dict[str, Tensor] = {}
    moved: dict[str, Params] = {}
    for name, layer in network.items():
        view = tick.views[name]
        if not view.params:
            continue
        change = rule.perturb(name, layer, view, teaching, gen)
        weights = rule.perturb_weights(name, layer, view, teaching, gen)
        if change is not None:
            added[name] = change
        if weights:
            moved[name] = weights
    groups = [[name] for name in added | moved] if rule.probe.each else [list(added | moved)]
    for names in groups:
        ours = {name: added[name] for name in names if name in added}
        theirs = {name: moved[name] for name in names if name in moved}
        rule.sense(ours, theirs, send(network, tick, rule.probe, ours, theirs, gen), gen)
    rule.aligned(gen)
