"""Learners as neutral graphs: nodes, pathway, learning rule and remaining state."""

from __future__ import annotations

from typing import Any

from torch import nn

from exports.describe.layers import converter_constants, network_nodes
from exports.describe.neurons import TICK, memory_constants
from exports.describe.pathways import error_encoding, plain_value, rule_path
from exports.describe.stored import state_keys
from exports.graph.arrays import Array
from exports.graph.model import Model
from exports.graph.pathways import Learning
from hwmodels.description import DescribedBuffers
from neurofa.core.capabilities import describe_path
from neurofa.core.layer import facts_of
from neurofa.core.rule import error_format
from neurofa.training.learner import Learner


def describe_learner(learner: Learner, spec: str, provenance: dict[str, Any], tick: float = TICK) -> Model:
    """Describe a learner as the neutral graph that exporters read: nodes, pathway, rule and remaining state.

    Args:
        learner: network, rule and optimizer.
        spec: spec of the rule, for the record.
        provenance: run, seed, versions; JSON values.
        tick: length of a tick, s, for layers with a memory.
    """
    network, rule = learner.network, learner.rule
    keys = state_keys(network, "network") | state_keys(rule, "rule")
    nodes, path = network_nodes(network, tick), rule_path(rule, keys)
    taken = {array.state for node in nodes for array in node.arrays().values()}
    taken |= set() if path is None else {array.state for array in path.arrays().values()}
    state = _state(network, "network") | _state(rule, "rule")
    return Model(
        input_shape=network.input_shape,
        nodes=nodes,
        feedback=path,
        error=error_encoding(error_format(rule)),
        learning=learning_constants(learner, spec),
        loss=repr(learner.loss),
        converters=converter_constants(network),
        more={key: array for key, array in state.items() if key not in taken},
        provenance=provenance,
    )


def _state(module: nn.Module, prefix: str) -> dict[str, Array]:
    """Return the state dict of a module as arrays, in the units that its parts declare."""
    units = {
        f"{path}.{key}": part.describe_buffer(key).unit
        for path, part in module.named_modules()
        if isinstance(part, DescribedBuffers)
        for key, _ in part.named_buffers(recurse=False)
    }
    meaning, arrays = "state of the learner, to go on exactly as it was", {}
    for key, value in module.state_dict(keep_vars=True).items():
        state = f"{prefix}:{key}"
        arrays[state] = Array(values=value.detach(), meaning=meaning, unit=units.get(key, "1"), state=state)
    return arrays


def learning_constants(learner: Learner, spec: str) -> Learning:
    """Return how the weights of a learner change: path and feedback of its rule, and all constants of a step.

    Args:
        learner: network, rule and optimizer.
        spec: of the rule.
    """
    rule, network = learner.rule, learner.network
    about, pathway = describe_path(rule.declares), rule.declares.plastic
    optimizer = {
        key: value
        for key, value in learner.optimizer.param_groups[0].items()
        if key not in ("params", "initial_lr") and isinstance(value, int | float | bool | None)
    }
    own: dict[str, Any] = {
        "rule_decay": 0.0 if pathway is None else pathway.decay,
        "accumulate": learner.accumulate,
        "clip": learner.clip,
    }
    own |= {key: plain_value(value) for key, value in rule.chosen().items() if isinstance(value, int | float | str)}
    memories = {name: memory for name, layer in network.items() if (memory := facts_of(layer).memory()) is not None}
    if memories:
        own["neurons"] = {name: memory_constants(memory) for name, memory in memories.items()}
    plastic = sorted({key for name in network.names for key in pathway.plastic(name)}) if pathway else []
    return Learning(
        rule=rule.name,
        spec=spec,
        path=about.kind,
        signal=about.signal,
        derivative=about.derivative,
        frozen=tuple(sorted(about.frozen)),
        optimizer=type(learner.optimizer).__name__,
        constants=optimizer | own,
        plastic=tuple(plastic),
        plasticity=about.plasticity,
    )
