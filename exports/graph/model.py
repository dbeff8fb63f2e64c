"""The whole neutral graph of one learner."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from exports.graph.arrays import Array
from exports.graph.nodes import Node, Shape
from exports.graph.pathways import ErrorEncoding, FeedbackPath, Learning
from hwmodels.errors import NeurofaError, did_you_mean


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """Everything that is exported of one learner.

    Args:
        input_shape: shape of one sample.
        nodes: the layers, from input to readout.
        feedback: the pathway by which errors return; None: not exported.
        error: number format of the error that enters the pathway.
        learning: constants of the rule and of the optimizer.
        loss: spec of the loss.
        converters: constants of the converters around arrays of forward weights; empty: exact products.
        more: state that a learner needs to go on and that is no part of the nodes.
        provenance: spec, seed and versions; JSON values.

    Raises:
        NeurofaError: there is no node, a name appears twice, or the shapes of two nodes do not fit.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    feedback: FeedbackPath | None = None
    error: ErrorEncoding | None = None
    learning: Learning | None = None
    loss: str = "cross_entropy"
    converters: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Array] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.nodes:
            raise NeurofaError("got a graph without nodes; expected one at least; describe a network")
        shape, names = self.input_shape, set[str]()
        for node in self.nodes:
            if node.in_shape != shape or node.name in names:
                raise NeurofaError(
                    f"got node '{node.name}' for {node.in_shape} behind {shape}; expected unique names and shapes that"
                    " fit; order the nodes from input to readout"
                )
            names.add(node.name)
            shape = node.out_shape

    @property
    def spiking(self) -> bool:
        """Whether the network runs in ticks."""
        return any(node.has_memory for node in self.nodes)

    @property
    def outputs(self) -> int:
        """Number of values that the whole graph puts out for one sample."""
        return math.prod(self.nodes[-1].out_shape)

    def node(self, name: str) -> Node:
        """Return the node of that name.

        Raises:
            NeurofaError: there is none.
        """
        by_name = {node.name: node for node in self.nodes}
        if name not in by_name:
            raise NeurofaError(f"got node '{name}'; expected one of {', '.join(by_name)}{did_you_mean(name, by_name)}")
        return by_name[name]
