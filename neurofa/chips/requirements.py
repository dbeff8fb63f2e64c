"""What a learner needs of a chip: sizes, stored numbers, path of the error, update of a weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.arrays.periphery import Periphery
from hwmodels.description import DeviceDescription
from hwmodels.device_models.nested import device_chain
from hwmodels.format import Format
from neurofa.core.capabilities import describe_path
from neurofa.core.facts import LayerFacts
from neurofa.core.layer import Layer, facts_of
from neurofa.core.rule import Rule, error_format
from neurofa.costs.memory import optimizer_state
from neurofa.training.learner import Learner

SMOOTH = 64
"""Number of jumps of a sampled derivative from which on it counts as smooth."""


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What one learner needs of a chip: sizes, number formats, path of the error, and update of a weight."""

    inputs: int
    """Numbers in one sample."""
    widths: tuple[int, ...]
    """Neurons of every layer with weights, from input to readout."""
    synapses: int
    """Connections; a kernel is counted at each position, a weight inside a block once."""
    fan_in: int
    """Most connections into one neuron."""
    devices: tuple[DeviceDescription, ...]
    """The different devices of the affine weights; biases, gains and embeddings are digital numbers and not counted."""
    dtype_bits: int
    """Width of a number that no device limits, bit."""
    peripheries: tuple[Periphery | None, ...]
    """The different peripheries of the layers; None: their products are computed in floats."""
    mixed_sources: tuple[int, int]
    """Source neurons whose weights have both signs, and all source neurons."""
    rule: str
    """Name of the rule."""
    path: str
    """How far the error gets: ``readout``, ``direct`` or ``chained`` (across more than one layer)."""
    feedback_weights: str
    """Whose weights send the error back: ``own``, ``readout``, ``forward``, their ``signs``, or ``none``."""
    error: Format | None
    """Number format in which the error enters the pathway; None: floats, the rule offers no other."""
    pathway: str
    """Name of the feedback pathway; empty where there is none."""
    resolution: float | None
    """Effective resolution of the pathway's detector, bit; None: it has none, or it is not known."""
    matrix: tuple[int, int]
    """Rows (inputs) and columns (outputs) of the feedback matrix; zeros for chained rules."""
    derivatives: dict[str, float]
    """Constant pieces of the function that stands for f', by the name of the activation; infinite for a smooth one."""
    batch: int
    """Samples that are taken together into one update."""
    rates: tuple[float, ...]
    """Learning rates in use."""
    state: int
    """Numbers that learning stores for every weight (state of the optimizer and of the device)."""
    traces: tuple[Format, ...] = ()
    """The different number formats of eligibility traces; empty: no layer has any."""
    membranes: tuple[Format, ...] = ()
    """The different number formats of membrane potentials; empty: no layer has neurons."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """Neurons of every hidden layer."""
        return self.widths[:-1]


def requirements_of(learner: Learner, *, batch_size: int = 1, rates: tuple[float, ...] | None = None) -> Requirements:
    """Return what a learner needs of a chip.

    Args:
        learner: network, rule and optimizer.
        batch_size: samples in a step.
        rates: learning rates of a schedule; None: those that the optimizer holds.
    """
    network, rule = learner.network, learner.rule
    layers = {name: layer for name, layer in network.items() if layer.synapses}
    facts = {name: facts_of(layer) for name, layer in layers.items()}
    plan, about = network.plan(chained=False, sized=False), describe_path(rule.declares)
    matrices = [(layer, layer.synapses[key]) for name, layer in layers.items() for key in facts[name].matrices]
    devices = [synapses.device for _, synapses in matrices]
    memories = [memory for each in facts.values() if (memory := each.memory()) is not None]
    # with one hidden layer a chain has one link: the error goes straight from the readout to it
    path = "chained" if rule.declares.chained and len(plan.hidden) > 1 else "direct"
    path = "readout" if about.kind == "readout" else path
    digital_state = max((sum(d.digital_state for d in device_chain(device)) for device in devices), default=0)
    return Requirements(
        inputs=math.prod(network.input_shape),
        widths=tuple(site.width for site in plan.sites),
        synapses=sum(each.connections(network.shapes[name]) for name, each in facts.items()),
        fan_in=max((each.connections_in for each in facts.values()), default=0),
        devices=tuple(dict.fromkeys(device.describe() for device in devices)),
        dtype_bits=torch.finfo(plan.dtype).bits,
        peripheries=tuple(dict.fromkeys(_periphery(layer) for layer, _ in matrices)),
        mixed_sources=mixed_sources([synapses.weight.detach() for _, synapses in matrices]),
        rule=rule.name,
        path=path,
        feedback_weights=_feedback_weights(rule, path),
        error=error_format(rule),
        pathway="" if path == "readout" or rule.declares.transports == "weights" else rule.feedback.name,
        resolution=rule.feedback.resolution,
        matrix=(plan.outputs, rule.feedback.width) if about.kind == "direct" else (0, 0),
        derivatives=derivative_pieces(rule, list(facts.values())),
        batch=batch_size * learner.accumulate,
        rates=rates if rates is not None else tuple(g["lr"] for g in learner.optimizer.param_groups),
        state=optimizer_state(learner.optimizer) + digital_state,
        traces=tuple(dict.fromkeys(memory.traces for memory in memories)),
        membranes=tuple(dict.fromkeys(memory.membrane for memory in memories)),
    )


def _feedback_weights(rule: Rule, path: str) -> str:
    if path == "readout":
        return "none"
    if rule.declares.transports == "nothing":
        return "own"
    return "signs" if rule.declares.transports == "signs" else "readout" if path == "direct" else "forward"


def mixed_sources(matrices: list[Tensor]) -> tuple[int, int]:
    """Return how many source neurons have weights of both signs, and how many source neurons there are.

    Args:
        matrices: (n_out, n_in), or kernels (C_out, C_in, k, k), whose sources are the input channels.
    """
    mixed = total = 0
    for w in matrices:
        columns = w.flatten(2).transpose(1, 2).flatten(0, 1) if w.dim() > 2 else w
        mixed += int(((columns > 0).any(0) & (columns < 0).any(0)).sum())
        total += columns.shape[1]
    return mixed, total


def _periphery(layer: Layer) -> Periphery | None:
    host = layer.traits.array_host
    return None if host is None else host.periphery


def derivative_pieces(rule: Rule, layers: list[LayerFacts]) -> dict[str, float]:
    """Return the number of constant pieces of every derivative that errors are multiplied by, on a grid over [-8, 8].

    Args:
        rule: if it replaces f' by a function, that one counts alone, under the name ``g``.
        layers: facts of the layers with weights, from input to readout; the readout does not count.

    Returns:
        By the name of the activation or surrogate; infinite for a smooth derivative.
    """
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    substitute = describe_path(rule.declares).substitute
    if substitute is not None:
        return {"g": constant_pieces(substitute(grid))}
    pieces: dict[str, float] = {}
    for facts in layers[:-1]:
        slope = facts.slope()
        if slope is None:
            pieces[facts.layer.name] = math.inf  # whatever is inside, the layer pulls back by its exact derivative
        else:
            name, derivative = slope
            pieces[name] = constant_pieces(derivative(grid.clone()))
    return pieces


def constant_pieces(values: Tensor) -> float:
    """Return the number of constant pieces of a sampled function; infinite from :data:`SMOOTH` jumps on."""
    jumps = int((values.diff().abs() > 1e-9).sum())
    return jumps + 1.0 if jumps < SMOOTH else math.inf
