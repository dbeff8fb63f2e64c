"""The flow of values through a traced model, and the points at which one tensor alone crosses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor, fx

from neurofa.interop.tracing.tracer import ModuleCall, Pair, ValueTracer


@dataclass(eq=False)
class ValueFlow:
    """A traced model: its nodes in order, and for every node where its value is used last.

    Args:
        graph: of the tracer.
        tracer: that made it.
    """

    graph: fx.Graph
    tracer: ValueTracer
    nodes: list[fx.Node] = field(default_factory=list)
    """Nodes that depend on the input and give tensors, in order."""
    carried: set[fx.Node] = field(default_factory=set)
    """All nodes that depend on the input."""
    crossing: list[tuple[fx.Node, ...]] = field(default_factory=list)
    """Values that are used behind each of ``nodes``, and made before or there."""

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            if node.op == "placeholder" or any(given in self.carried for given in node.all_input_nodes):
                self.carried.add(node)
        (self.output,) = (node for node in self.graph.nodes if node.op == "output")
        (self.input,) = (node for node in self.graph.nodes if node.op == "placeholder")
        self.nodes = [n for n in self.graph.nodes if n in self.carried and n.op.startswith("call") and self.real(n)]
        place = {node: index for index, node in enumerate(self.nodes)}
        last: dict[fx.Node, int] = {}
        for index, node in enumerate([*self.nodes, self.output]):
            for given in node.all_input_nodes:
                last |= dict.fromkeys(self._needed(given), index)
        for index in range(len(self.nodes)):
            made = (n for n in last if n is self.input or place[n] <= index)
            self.crossing.append(tuple(n for n in made if last[n] > index))

    @property
    def values(self) -> Mapping[fx.Node, Pair]:
        """What every node gives for two batches."""
        return self.tracer.values

    @property
    def samples(self) -> Pair:
        """Sizes of the two batches."""
        first, second = self.values[self.input]
        return len(first), len(second)

    def real(self, node: fx.Node) -> bool:
        """Return whether a node gives tensors, rather than a size."""
        return node.op == "output" or _has_tensor(self.values[node][0])

    def is_batch_size(self, node: fx.Node) -> bool:
        """Return whether a node gives the number of samples, which every tensor with samples first knows."""
        return self.values[node] == self.samples

    def maker(self, node: fx.Node) -> fx.Node:
        """Return the node that made the tensor which a node gives."""
        return self.tracer.same_as.get(node, node)

    def _needed(self, node: fx.Node) -> Iterator[fx.Node]:
        """Yield the values that a node gives, or from which a size is computed again."""
        if node not in self.carried or (not self.real(node) and self.is_batch_size(node)):
            return
        if self.real(node):
            yield self.maker(node)
            return
        for given in node.all_input_nodes:
            yield from self._needed(given)

    def cut_at(self, index: int) -> fx.Node | None:
        """Return the tensor that alone crosses behind a node, with samples first; None: more crosses, or another.

        Args:
            index: of the node.
        """
        across = self.crossing[index]
        if len(across) != 1:
            return None
        first, second = self.values[across[0]]
        if not isinstance(first, Tensor) or not first.is_floating_point() or first.dim() < 2:
            return None
        return across[0] if (len(first), len(second)) == self.samples else None

    def cuts(self) -> list[int]:
        """Return the nodes behind which the model can be cut, by index; none at the very end.

        What is computed without gradients learns nothing and stays in one piece.
        """
        dark = [node in self.tracer.without_gradient for node in self.nodes]
        return [i for i, pair in enumerate(pairwise(dark)) if self.cut_at(i) is not None and not all(pair)]

    def span(self, call: ModuleCall) -> tuple[int, int] | None:
        """Return the first and the last node of a call, by index; None: it has none."""
        inside = set(call.nodes())
        found = [index for index, node in enumerate(self.nodes) if node in inside]
        return (found[0], found[-1]) if found else None

    def calls(self) -> Iterator[ModuleCall]:
        """Return all calls of modules, outer ones first."""
        waiting = [self.tracer.top]
        while waiting:
            call = waiting.pop(0)
            inner = [item for item in call.items if isinstance(item, ModuleCall)]
            yield from inner
            waiting += inner


def _has_tensor(value: object) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_has_tensor, value))
    if isinstance(value, Mapping):
        return any(map(_has_tensor, value.values()))
    return isinstance(value, Tensor)
