"""Torch modules as lists of operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from exports.graph.arrays import Array
from exports.graph.nodes import Node


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One operation of a traced module, by its name in ATen's core operator set.

    Arguments are plain values; the name of another result is :class:`Ref`.
    """

    name: str
    target: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Ref:
    """The result of another operation, an input or a parameter."""

    name: str


@dataclass(frozen=True)
class Free:
    """A size that follows the batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedNode(Node):
    """A torch module as a list of operations, for everything that is no single affine map.

    Args:
        parameters: arrays by the module's own names.
        placeholders: the name by which operations refer to each of them; ``x`` is the input.
        ops: in order.
        result: name of the output.
        reason: why there are no operations; empty where there are.
    """

    kind = "traced"

    parameters: dict[str, Array]
    placeholders: dict[str, str] = field(default_factory=dict)
    ops: tuple[Op, ...] = ()
    result: str = ""
    reason: str = ""

    def arrays(self) -> dict[str, Array]:
        return dict(self.parameters)

    def constants(self) -> dict[str, Any]:
        return {"operations": [op.target for op in self.ops]}
