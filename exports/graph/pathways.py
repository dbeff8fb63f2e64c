"""The neutral graph's second half: how errors return, in what format, and how weights learn from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from exports.graph.arrays import Array, Matrix
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorEncoding:
    """Number format of the error (or target) that enters the pathway.

    Args:
        format: ``raw``, ``sign``, ``ternary``, ``uniform``, ``pow2`` or the name of another format.
        bits: width of one number.
        constants: of the format, such as the threshold of ``ternary``.
    """

    format: str = "raw"
    bits: float = 32
    constants: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Where one layer takes its teaching signal from.

    Args:
        layer: name of the layer's node.
        rows: first and last + 1 row of the pathway's matrix.
        shape: shape of the signal of one sample.
        spread: ``own``, one row a value; ``channels``, one row a channel, the same at every position.
    """

    layer: str
    rows: tuple[int, int]
    shape: tuple[int, ...]
    spread: Literal["own", "channels"] = "own"

    def __post_init__(self) -> None:
        width = 1
        for n in self.shape:
            width *= n
        wanted = width if self.spread == "own" else self.shape[0 if len(self.shape) == 3 else -1]
        if self.rows[1] - self.rows[0] != wanted or self.rows[0] < 0:
            raise NeurofaError(
                f"got rows {self.rows} for signals of shape {self.shape} at layer '{self.layer}'; expected {wanted};"
                " check the feedback that describes itself"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ProjectionHardware:
    """The physical device that a pathway is.

    Args:
        kind: ``crossbar``, ``microring``, ``mzi``, ``opu``, ``matrix_free`` or another registered projection.
        constants: options, with those of its parts.
        parameters: what has to be programmed, with units.
        exact: whether one product with the effective matrix is all that happens (no noise, no converters).
    """

    kind: str
    constants: dict[str, Any]
    parameters: dict[str, Array]
    exact: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectPath:
    """The error goes to every layer at once: teaching signals are slices of B e.

    Args:
        matrix: B, (m, o); None where the hardware has no linear map.
        slices: one a layer.
        hardware: what B is made of; None: a stored matrix.
    """

    matrix: Matrix | None
    slices: tuple[Slice, ...]
    hardware: ProjectionHardware | None = None

    def __post_init__(self) -> None:
        for part in self.slices:
            if self.matrix is not None and part.rows[1] > self.matrix.shape[0]:
                raise NeurofaError(
                    f"got rows {part.rows} of layer '{part.layer}' in a matrix of {self.matrix.shape}; expected rows"
                    " inside; check the feedback"
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Factors:
    """A return weight of rank r: (delta P) Q, with P (n_out, r) and Q (r, n_in) or (r, C_in, k, k)."""

    p: Matrix
    q: Matrix

    def __post_init__(self) -> None:
        if self.p.shape[1] != self.q.shape[0]:
            raise NeurofaError(f"got P {self.p.shape} and Q {self.q.shape}; expected one rank; check the factors")


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainedPath:
    """Every layer returns its error to the one below.

    Args:
        returns: by layer, then by the name of the forward weight: return weights shaped as it, or factors.
        tied: ``weights``: errors return through the forward weights themselves; ``signs``: through what was copied from
            their signs at the last step; ``own``: through ``returns``.
    """

    returns: dict[str, dict[str, Matrix | Array | Factors]]
    tied: Literal["own", "weights", "signs"] = "own"


@dataclass(frozen=True, kw_only=True, eq=False)
class UndescribedPath:
    """A pathway whose arrays are stored by name, without a description that an exporter could compute from."""

    rule: str


FeedbackPath = DirectPath | ChainedPath | UndescribedPath


@dataclass(frozen=True, kw_only=True, eq=False)
class Learning:
    """How the weights change.

    Args:
        rule: name of the rule.
        spec: the rule with its options.
        path: ``direct``, ``chained``, ``readout`` or ``other``.
        signal: what enters the pathway: ``error`` or ``target``.
        derivative: ``own``: the error meets the derivative of the layer; else the name of a function g(a).
        frozen: layers that do not learn.
        optimizer: name of the optimizer.
        constants: of rule and optimizer: ``lr``, ``momentum``, ``weight_decay``, ``decay`` and more.
        plastic: names of pathway weights that learn.
    """

    rule: str
    spec: str
    path: Literal["direct", "chained", "readout", "other"]
    signal: Literal["error", "target"] = "error"
    derivative: str = "own"
    frozen: tuple[str, ...] = ()
    optimizer: str = "SGD"
    constants: dict[str, Any] = field(default_factory=dict)
    plastic: tuple[str, ...] = ()
