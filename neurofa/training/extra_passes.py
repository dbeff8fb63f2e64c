"""Extra passes besides the forward pass of a step: second passes, probes and noise passes.

A probe measures the change of the output for a small change of hidden activity or of weights. The change is propagated
layer by layer through each layer's own derivative (a *tangent*), or it is the *difference* of two passes, which
hardware can make. A rule sees the changes that it made and the resulting change of the o outputs, and nothing else of
the network.

Noise: a tangent is taken at the weights and activities of its own tick, read noise included; it is exact up to
rounding, and converters count as the identity. A difference (y' - y)/h, h the ``step``, has three errors: curvature, of
order h; rounding, about eps |y|/h (1e-7 |y|/h in single precision); and, on noisy hardware, the independent noise of
two passes, of variance 2 s_y^2/h^2, where s_y is the standard deviation of an output from pass to pass. The last is the
noise floor: only a larger h or more samples reduce it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from neurofa.core.capabilities import Mirroring, Perturbation, Probing, SecondPass, Teaching
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.core.view import LocalView, Params, State, Tick
from neurofa.maps.analog import SEED
from neurofa.maps.jvp import tangent


def make_extra_passes(
    network: Network, rule: Rule, tick: Tick, teaching: Teaching, gen: torch.Generator | None
) -> Tick:
    """Make the second pass and the probes that the rule declares, once per tick.

    Args:
        network: the network that made ``tick``.
        rule: bound to the network; it observes the probes.
        tick: of the step.
        teaching: error and target of the tick.
        gen: source of changes and noise.

    Returns:
        The tick. Its views hold the second pass if there is one; the readout's second view holds its error as well.
    """
    if tick.ready:
        return tick
    declares = rule.declares
    if declares.second_pass is not None:
        tick = _second_pass(network, declares.second_pass, tick, teaching, gen)
    if declares.probing is not None:
        _probe(network, declares.probing, tick, teaching, gen)
    return tick._replace(ready=True)


def _second_pass(
    network: Network, capability: SecondPass, tick: Tick, teaching: Teaching, gen: torch.Generator | None
) -> Tick:
    """Return the tick with the second pass in every view."""
    first = next(iter(tick.views.values()))
    x = capability.second_input(first.x, teaching.error, gen)
    second: dict[str, LocalView] = {}
    for name, layer in network.items():
        view = tick.views[name]
        params, before = layer.synapses.read(gen), repeated_state(layer, view, gen)
        y, after, graph = layer.record(params, x, before, None, False)
        second[name] = LocalView(x, y, params, before, after, graph=graph)
        x = y
    if teaching.error_for is not None:
        second[network.readout] = replace(second[network.readout], error=teaching.error_for(x))
    return tick._replace(views={name: replace(view, second_pass=second[name]) for name, view in tick.views.items()})


def _probe(network: Network, capability: Probing, tick: Tick, teaching: Teaching, gen: torch.Generator | None) -> None:
    """Perturb every layer with weights, propagate the changes to the output, and let the rule observe the result."""
    outputs: dict[str, Tensor] = {}
    weights: dict[str, Params] = {}
    for name, layer in network.items():
        view = tick.views[name]
        if not view.params:
            continue
        change, moved = capability.perturb(name, layer, view, teaching, gen)
        if change is not None:
            outputs[name] = change
        if moved:
            weights[name] = moved
    # the changes of all layers are drawn first; with ``each`` they are then propagated one layer at a time
    perturbed = list(outputs | weights)
    for names in [[name] for name in perturbed] if capability.perturbation.each else [perturbed]:
        moved_outputs = {name: outputs[name] for name in names if name in outputs}
        moved_weights = {name: weights[name] for name in names if name in weights}
        u = output_change(network, tick, capability.perturbation, moved_outputs, moved_weights, gen)
        capability.observe_probe(moved_outputs, moved_weights, u, gen)
    capability.after_probes(gen)


def output_change(
    network: Network,
    tick: Tick,
    perturbation: Perturbation,
    outputs: Mapping[str, Tensor],
    weights: Mapping[str, Params],
    gen: torch.Generator | None,
) -> Tensor:
    """Return the change of the output, (N, o), for changes of hidden outputs and of weights: N = B, or B S positions.

    Args:
        network: the network that made ``tick``.
        tick: with all views.
        perturbation: by tangent or by difference.
        outputs: changes of outputs by layer, (B, *out_shape) each.
        weights: changes of weights by layer, shaped as the weights.
        gen: source of the noise of the second pass (difference only).
    """
    if perturbation.by == "difference":
        return _difference(network, tick, perturbation.step, outputs, weights, gen).flatten(0, -2)
    dot: Tensor | None = None
    for name, layer in network.items():
        # below the first perturbed layer nothing changes, and nothing is computed
        if dot is not None or name in weights:
            dot = tangent(layer, tick.views[name], dot, weights.get(name, {}))
        if name in outputs:
            dot = outputs[name] if dot is None else dot + outputs[name]
    return (torch.zeros_like(tick.y) if dot is None else dot).flatten(0, -2)


def _difference(
    network: Network,
    tick: Tick,
    step: float,
    outputs: Mapping[str, Tensor],
    weights: Mapping[str, Params],
    gen: torch.Generator | None,
) -> Tensor:
    """Return (y' - y)/step, with new read and array noise in the second pass, and the same dropout."""
    x = next(iter(tick.views.values())).x
    for name, layer in network.items():
        view = tick.views[name]
        params = layer.synapses.read(gen)
        for key, change in weights.get(name, {}).items():
            params[key] = params[key] + step * change
        x = layer.compute(params, x, repeated_state(layer, view, gen))[0]
        if name in outputs:
            x = x.add(outputs[name], alpha=step)
    return (x - tick.y).div_(step)


def repeated_state(layer: Layer, view: LocalView, gen: torch.Generator | None) -> State:
    """Return the state before a repeated pass of the same tick: the same dropout, new noise of the arrays.

    Args:
        layer: of the view.
        view: of the tick.
        gen: source of the new noise.
    """
    kept = {key: value for key, value in view.before.items() if key != SEED}
    return layer.fresh_state(view.x, gen) | kept


def noise_pass(
    network: Network, capability: Mirroring, views: Mapping[str, LocalView], gen: torch.Generator | None
) -> None:
    """Send noise through the maps of every layer, and let its return weights learn from inputs and outputs.

    Args:
        network: the network.
        capability: the rule's declared mirroring, which updates the return weights.
        views: of a tick, by layer; their weights as read and their input shapes are used.
        gen: source of the noise.
    """
    for name, layer in network.items():
        mirror = layer.traits.mirror
        if layer.traits.returning and mirror is not None:
            view = views[name]
            capability.mirror(name, mirror.mirror(view.params, view.x, capability.amplitude, gen), gen)
