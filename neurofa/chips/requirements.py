"""What a learner asks of hardware: sizes, stored numbers, how the error travels, how a weight is updated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.device_models.nested import device_chain
from hwmodels.format import Format
from hwmodels.projection import Projection
from hwmodels.registry import options
from neurofa.core.layer import Layer, ParameterFreeLayer
from neurofa.core.plan import Plan
from neurofa.core.rule import Direct, Rule
from neurofa.costs.counts import connections, derivatives, fan_in, mixed_sources, state_per_weight
from neurofa.feedbacks.projection import Projected
from neurofa.maps.affine import Affine
from neurofa.rules.readout_only import ReadoutOnly
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import Learner


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one learner asks of hardware."""

    inputs: int
    """Numbers in one sample."""
    widths: tuple[int, ...]
    """Neurons of every layer with weights, from input to readout."""
    synapses: int
    """Connections; a kernel is counted at each position, a weight inside a block once."""
    fan_in: int
    """Most connections into one neuron."""
    devices: tuple[tuple[Device, ...], ...]
    """The different devices of the affine weights, each with the devices inside it, outermost first; biases, gains and
    embeddings are digital numbers, and are counted nowhere."""
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
    projection: Projection | None
    """The hardware of the pathway."""
    matrix: tuple[int, int]
    """Rows (inputs) and columns (outputs) of the feedback matrix; zeros for chained rules."""
    derivatives: dict[str, float]
    """Constant pieces of what stands for f', by the name of the activation; infinite for a smooth one."""
    batch: int
    """Samples that are taken together into one update."""
    rates: tuple[float, ...]
    """Learning rates in use."""
    state: int
    """Numbers of learning state beside every weight."""
    traces: tuple[Format, ...] = ()
    """The different number formats of eligibility traces; none: no layer has any."""
    membranes: tuple[Format, ...] = ()
    """The different number formats of membrane potentials; none: no layer has neurons."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """Neurons of every hidden layer."""
        return self.widths[:-1]


def footprint(learner: Learner, *, batch_size: int = 1, rates: tuple[float, ...] | None = None) -> Footprint:
    """Measure a learner.

    Args:
        learner: network, rule and optimizer.
        batch_size: samples in a step.
        rates: learning rates of a schedule; None: those that the optimizer holds.
    """
    network, rule = learner.network, learner.rule
    layers = {
        name: layer for name, layer in network.items() if not isinstance(layer, ParameterFreeLayer) and layer.synapses
    }
    plan = network.plan(chained=False)
    maps = [(layer, key) for layer in layers.values() for key in _matrices(layer)]
    matrices = [layer.synapses.stored()[key] for layer, key in maps]
    held = [layer.synapses[key].device for layer, key in maps]
    projection = rule.feedback.projection if isinstance(rule.feedback, Projected) else None
    error: Any = rule.encoder if "error" in options(type(rule)) else None
    if projection is not None and isinstance(encoder := getattr(projection, "encoder", None), Format):
        error = encoder
    path = _path(rule, plan)
    return Footprint(
        inputs=math.prod(network.input_shape),
        widths=tuple(site.width for site in plan.sites),
        synapses=sum(connections(layer, network.shapes[name]) for name, layer in layers.items()),
        fan_in=max(map(_fan_in, layers.values()), default=0),
        devices=tuple(dict.fromkeys(tuple(device_chain(device)) for device in held)),
        dtype_bits=torch.finfo(plan.dtype).bits,
        peripheries=tuple(dict.fromkeys(_periphery(layer) for layer, _ in maps)),
        mixed_sources=mixed_sources(matrices),
        rule=rule.name,
        path=path,
        feedback_weights=_feedback_weights(rule, path),
        error=error,
        pathway="" if path == "readout" or rule.declares.transports == "weights" else rule.feedback.name,
        projection=projection,
        matrix=_matrix(rule, plan),
        derivatives=derivatives(rule, layers),
        batch=batch_size * learner.accumulate,
        rates=rates if rates is not None else tuple(g["lr"] for g in learner.optimizer.param_groups),
        state=state_per_weight(learner.optimizer)
        + max((sum(d.digital_state for d in device_chain(device)) for device in held), default=0),
        traces=tuple(dict.fromkeys(layer.traces for layer in layers.values() if isinstance(layer, Temporal))),
        membranes=tuple(
            dict.fromkeys(layer.neuron.membrane for layer in layers.values() if isinstance(layer, Temporal))
        ),
    )


def _matrices(layer: Layer) -> list[str]:
    """Names of the affine weights of a layer, those among its own neurons included."""
    among = ["recurrent"] if isinstance(layer, Temporal) and layer.recurrent else []
    return [key for key in layer.traits.returning if layer.synapses.stored()[key].dim() > 1] + among


def _fan_in(layer: Layer) -> int:
    if isinstance(layer, Affine):
        return sum(fan_in(layer))
    return max((math.prod(layer.synapses.stored()[key].shape[1:]) for key in _matrices(layer)), default=0)


def _periphery(layer: Layer) -> Periphery | None:
    """What stands around a layer's arrays."""
    arrays = layer.arrays if isinstance(layer, Affine) else None
    return None if arrays is None else arrays.forward_io


def _path(rule: Rule, plan: Plan) -> str:
    if isinstance(rule, ReadoutOnly):
        return "readout"
    # with one hidden layer a chain has one link: the error goes straight from the readout to it
    return "chained" if rule.declares.chained and len(plan.hidden) > 1 else "direct"


def _feedback_weights(rule: Rule, path: str) -> str:
    if path == "readout":
        return "none"
    if rule.declares.transports == "nothing":
        return "own"
    return "signs" if rule.declares.transports == "signs" else "readout" if path == "direct" else "forward"


def _matrix(rule: Rule, plan: Plan) -> tuple[int, int]:
    if not isinstance(rule, Direct):
        return 0, 0
    return plan.outputs, max((part.stop for part in rule.feedback.slices.values()), default=0)
