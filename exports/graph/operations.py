"""Torch modules as lists of ATen operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from exports.graph.arrays import Array
from exports.graph.nodes import Node


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One operation of a traced module.

    Args:
        name: name of its result.
        target: name of the operation in ATen's core operator set.
        args: arguments by position: plain values, :class:`Ref` and :class:`Free`.
        kwargs: arguments by keyword.
        rank: number of axes of the result; 0 for several results.
    """

    name: str
    target: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rank: int = 0


@dataclass(frozen=True)
class Ref:
    """The result of another operation, an input or a parameter, by name."""

    name: str


@dataclass(frozen=True)
class Free:
    """Placeholder for a size that depends on the number of samples in the batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedNode(Node):
    """A torch module that is more than one affine map, as a list of operations.

    Args:
        parameters: arrays by the module's own names.
        placeholders: name of each array in the operations; ``x`` is the input.
        ops: the operations in order.
        result: name of the output.
        reason: why there are no operations; empty where there are.
        example: an input (B, *in_shape) and the module's output (B, *out_shape) for it, to compare a translation with.
    """

    kind = "traced"

    parameters: dict[str, Array]
    placeholders: dict[str, str] = field(default_factory=dict)
    ops: tuple[Op, ...] = ()
    result: str = ""
    reason: str = ""
    example: tuple[Tensor, Tensor] | None = None

    def arrays(self) -> dict[str, Array]:
        return dict(self.parameters)

    def constants(self) -> dict[str, Any]:
        return {"operations": [op.target for op in self.ops], **({"reason": self.reason} if self.reason else {})}
