"""The whole neutral graph of one learner."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from exports.graph.arrays import Array
from exports.graph.neurons import SpikingNode
from exports.graph.nodes import Node, Shape
from hwmodels.errors import NeurofaError, did_you_mean


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """Everything that is exported of one learner.

    Args:
        input_shape: of one sample.
        nodes: from input to readout.
        feedback: how errors return; None: not exported.
        error: number format of the error that enters the pathway.
        learning: the rule's constants.
        loss: name of the loss.
        converters: constants of the converters around arrays of forward weights; empty: exact products.
        more: state that a learner needs to go on and that is no part of the nodes.
        provenance: where it comes from: spec, seed, versions; JSON values.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    feedback: Any = None
    error: Any = None
    learning: Any = None
    loss: str = "cross_entropy"
    converters: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Array] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.nodes:
            raise NeurofaError("got a graph without nodes; expected one at least; describe a network")
        shape, seen = self.input_shape, set[str]()
        for node in self.nodes:
            if node.in_shape != shape or node.name in seen:
                raise NeurofaError(
                    f"got node '{node.name}' for {node.in_shape} behind {shape}; expected unique names and shapes that"
                    " fit; order the nodes from input to readout"
                )
            seen.add(node.name)
            shape = node.out_shape

    @property
    def spiking(self) -> bool:
        """Whether it runs in ticks."""
        return any(isinstance(node, SpikingNode) for node in self.nodes)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return math.prod(self.nodes[-1].out_shape)

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            NeurofaError: there is none.
        """
        for found in self.nodes:
            if found.name == name:
                return found
        names = [node.name for node in self.nodes]
        raise NeurofaError(f"got node '{name}'; expected one of {', '.join(names)}{did_you_mean(name, names)}")
