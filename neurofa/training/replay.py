"""Replay of a step's backward phase on a recorded tick, for diagnostics and audits, without changing the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from neurofa.core.capabilities import Teaching
from neurofa.core.directions import Directions, ReturnWeights, dense
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule
from neurofa.core.view import LocalView, Params, Tick
from neurofa.training.extra_passes import make_extra_passes
from neurofa.training.learner import assign, forward_pass
from neurofa.training.step_types import ReturnWeightsOf


@dataclass(frozen=True)
class Credit:
    """Errors and directions of one backward phase, by the name of every layer that learns."""

    errors: dict[str, Tensor] = field(default_factory=dict)
    """(B, *out_shape): delivered error."""
    deltas: dict[str, Tensor] = field(default_factory=dict)
    """(B, channels, ...): error at the affine output, per sample; layers with one affine map only."""
    directions: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Directions of the weights, summed over the batch, by the weight's name."""
    inner: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Errors at the outputs of the affine maps inside a layer with several, by weight."""
    plastic: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Directions of the feedback weights that learn with the layer, summed over the batch."""


@torch.no_grad()
def collect(network: Network, rule: Rule, tick: Tick, teaching: Teaching, gen: torch.Generator) -> Credit:
    """Return the errors and directions of one tick's backward phase; no weight changes.

    Args:
        network: for the order of the layers.
        rule: bound to the network.
        tick: from :func:`record`, or from :func:`neurofa.training.learner.forward_pass`.
        teaching: error and target, (B, o) each.
        gen: source of the pathway's read noise and rounding.
    """
    credit = Credit()

    def emit(name: str, layer: Layer, view: LocalView, directions: Directions) -> None:  # noqa: ARG001
        assert view.error is not None
        credit.errors[name] = view.error.clone()
        if view.delta is not None:
            credit.deltas[name] = view.delta.clone()
        credit.inner[name] = {key: error.clone() for key, error in view.inner.items()}
        credit.directions[name] = dense(directions)
        credit.plastic[name] = dense(rule.adapt(name, view, directions))

    tick = make_extra_passes(network, rule, tick, teaching, gen)
    assign(network, rule, tick, teaching, emit, gen)
    return credit


@torch.no_grad()
def record(network: Network, rule: Rule, x: Tensor, gen: torch.Generator) -> Tick:
    """Run one forward pass and return its views, with copies of the rule's return weights that no later step changes.

    Args:
        network: in training or evaluation mode, which is not changed.
        rule: bound to the network.
        x: (B, *input_shape).
        gen: source of dropout masks and read noise.
    """
    return forward_pass(network, x, gen=gen, return_weights=copied_return_weights(rule, gen))


def copied_return_weights(rule: Rule, gen: torch.Generator) -> ReturnWeightsOf | None:
    """Return the function from a layer's name and weights to copies of its return weights; None: no return path.

    Args:
        rule: bound to a network.
        gen: source of read noise.
    """
    path = rule.declares.return_path
    if path is None:
        return None
    own = path

    def copied(name: str, params: Params) -> ReturnWeights | None:
        weights = own.return_weights(name, params, gen)
        if weights is None:
            return None
        # forward weights are not copied: layers recognise their own weights by identity
        forward = {id(p) for p in params.values()}
        return {k: v if id(v) in forward else v.clone() for k, v in weights.items()}

    return copied


@torch.no_grad()
def with_own_transposes(network: Network, tick: Tick) -> Tick:
    """Return the same tick as backpropagation records it: every layer returns its error through its own weights.

    Weights as read, dropout masks and noise of the tick are kept.

    Args:
        network: the network that made the tick.
        tick: with the views of all layers.
    """
    views: dict[str, LocalView] = {}
    for name, layer in network.items():
        view = tick.views[name]
        back = view.params or None
        # the lowest layer returns no error
        y, after, graph = layer.record(view.params, view.x, view.before, back, bool(views))
        views[name] = replace(view, y=y, after=after, graph=graph, return_weights=back)
    return tick._replace(views=views)


@contextmanager
def preserved(network: Network, rule: Rule) -> Iterator[None]:
    """Restore network and rule behind the ``with`` block: weights, cells, feedback, statistics, generator and modes.

    Args:
        network: the network.
        rule: bound to the network; its generator is replaced by a copy inside the block.
    """
    modes = [*network.modes(), *((module, module.training) for module in rule.modules())]
    kept = [(t, t.detach().clone()) for t in (*_tensors(network), *_tensors(rule))]
    own, rule.gen = rule.gen, None if rule.gen is None else _twin(rule.gen)
    try:
        yield
    finally:
        rule.gen = own
        with torch.no_grad():
            for tensor, value in kept:
                tensor.data.copy_(value)
        for module, mode in modes:
            module.training = mode


def _tensors(module: torch.nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _twin(gen: torch.Generator) -> torch.Generator:
    twin = generator(0, device=gen.device)
    twin.set_state(gen.get_state())
    return twin
