"""The neutral graph's second half: how errors return, in what format, and how weights learn from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from exports.graph.arrays import Array, Matrix
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorEncoding:
    """Number format of the error (or target) that enters the pathway.

    Args:
        format: ``raw``, ``sign``, ``ternary``, ``uniform``, ``pow2`` or the name of another format.
        bits: width of one number.
        constants: options of the format by name, such as the threshold of ``ternary``.
    """

    format: str = "raw"
    bits: float = 32
    constants: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """The rows of a feedback matrix that give one layer its teaching signal.

    Args:
        layer: name of the layer's node.
        rows: first and last + 1 row of the matrix.
        shape: shape of the signal of one sample.
        spread: ``own``, one row for each value; ``channels``, one row for each channel, the same at every position.
        factor: by which the rows of the product are scaled, digitally and behind hardware.

    Raises:
        NeurofaError: the number of rows does not fit the shape.
    """

    layer: str
    rows: tuple[int, int]
    shape: tuple[int, ...]
    spread: Literal["own", "channels"] = "own"
    factor: float = 1.0

    def __post_init__(self) -> None:
        wanted = math.prod(self.shape) if self.spread == "own" else self.shape[self.channel_axis]
        if self.rows[1] - self.rows[0] != wanted or self.rows[0] < 0:
            raise NeurofaError(
                f"got rows {self.rows} for signals of shape {self.shape} at layer '{self.layer}'; expected {wanted};"
                " check the feedback that describes itself"
            )

    @property
    def channel_axis(self) -> int:
        """Axis of the channels: the first of images (C, H, W), the last of sequences (S, d)."""
        return 0 if len(self.shape) == 3 else len(self.shape) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ProjectionHardware:
    """The hardware that multiplies errors by the feedback matrix.

    Args:
        kind: ``crossbar``, ``microring``, ``mzi``, ``opu``, ``matrix_free`` or another registered projection.
        constants: options of the hardware, with those of its parts.
        parameters: tensors that have to be programmed, or were fixed at fabrication, with units.
        exact: whether a pass is the product with the effective matrix alone, without noise and converters.
    """

    kind: str
    constants: dict[str, Any]
    parameters: dict[str, Array]
    exact: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class FeedbackPath(ABC):
    """How the error at the output reaches the layers."""

    kind: ClassVar[str]
    """Name of this kind of pathway in files."""

    @property
    @abstractmethod
    def convention(self) -> str:
        """Sentence, written into every file, on how the arrays turn the output error into errors of layers."""

    @property
    def exact(self) -> bool:
        """Whether the arrays alone determine the signals, without noise and converters; default: yes."""
        return True

    def arrays(self) -> dict[str, Array]:
        """Return all arrays by their path below the pathway; default: none."""
        return {}

    def attributes(self) -> dict[str, dict[str, Any]]:
        """Return the plain values of every group of the pathway, by its path below it; default: none.

        An empty path stands for the pathway's own group.
        """
        return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectPath(FeedbackPath):
    """The error goes to every layer at once: teaching signals are slices of B e.

    Args:
        matrix: B, (m, o); None where the hardware has no linear map.
        slices: one for each layer.
        hardware: the device that multiplies by B; None: a stored matrix.

    Raises:
        NeurofaError: a slice ends outside of the matrix.
    """

    kind = "direct"
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

    @property
    def convention(self) -> str:
        factor = "factor * " if self._factors else ""
        return f"teaching signal of a layer = {factor}matrix[rows] @ error; the readout gets the error itself"

    @property
    def _factors(self) -> bool:
        return any(part.factor != 1 for part in self.slices)

    @property
    def exact(self) -> bool:
        return self.hardware is None or self.hardware.exact

    def arrays(self) -> dict[str, Array]:
        parameters = {} if self.hardware is None else self.hardware.parameters
        hardware = {f"hardware/{key}": array for key, array in parameters.items()}
        return ({} if self.matrix is None else {"matrix": self.matrix}) | hardware

    def attributes(self) -> dict[str, dict[str, Any]]:
        groups: dict[str, dict[str, Any]] = {
            f"slices/{part.layer}": {"rows": part.rows, "shape": part.shape, "spread": part.spread}
            | ({"factor": part.factor} if self._factors else {})
            for part in self.slices
        }
        if self.hardware is not None:
            hardware = self.hardware
            groups["hardware"] = {"kind": hardware.kind, "constants": hardware.constants, "exact": hardware.exact}
        return groups


@dataclass(frozen=True, kw_only=True, eq=False)
class Factors:
    """The factors P and Q of a return weight of rank r: the error delta of a layer returns as (delta P) Q.

    P is (n_out, r), Q is (r, n_in), or (r, C_in, k, k) beside a convolution.

    Raises:
        NeurofaError: the ranks of the factors differ.
    """

    p: Matrix
    q: Matrix

    def __post_init__(self) -> None:
        if self.p.shape[1] != self.q.shape[0]:
            raise NeurofaError(f"got P {self.p.shape} and Q {self.q.shape}; expected one rank; check the factors")

    def arrays(self) -> dict[str, Array]:
        """Return both factors by name."""
        return {"P": self.p, "Q": self.q}


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainedPath(FeedbackPath):
    """Every layer returns its error to the one below.

    Args:
        returns: return weights shaped as the forward weight, or their factors, by layer and name of the forward weight.
        tied: ``weights``: errors return through the forward weights themselves; ``signs``: through what was copied from
            their signs at the last step; ``own``: through ``returns``.
    """

    kind = "chained"
    convention = (
        "the error at a layer's input is its delta (error times derivative) sent back through B, oriented as the"
        " forward weights: delta @ B; or through two factors: (delta @ P) @ Q"
    )

    returns: dict[str, dict[str, Matrix | Array | Factors]]
    tied: Literal["own", "weights", "signs"] = "own"

    def arrays(self) -> dict[str, Array]:
        arrays: dict[str, Array] = {}
        for layer, weights in self.returns.items():
            for key, weight in weights.items():
                parts = weight.arrays() if isinstance(weight, Factors) else {"B": weight}
                arrays |= {f"{layer}/{key}/{part}": array for part, array in parts.items()}
        return arrays

    def attributes(self) -> dict[str, dict[str, Any]]:
        return {"": {"tied": self.tied}}


@dataclass(frozen=True, kw_only=True, eq=False)
class UndescribedPath(FeedbackPath):
    """A pathway whose arrays are stored as state, without a description that an exporter could compute from.

    Args:
        rule: name of the rule that owns it.
    """

    kind = "undescribed"

    rule: str

    @property
    def convention(self) -> str:
        return f"as the rule {self.rule} says; see state"


@dataclass(frozen=True, kw_only=True, eq=False)
class Learning:
    """How the weights change in one step: the rule, its way for errors, and the constants of rule and optimizer.

    Args:
        rule: name of the rule.
        spec: the rule with its options.
        path: ``direct``, ``chained``, ``readout`` or ``other``.
        signal: what enters the pathway: ``error`` or ``target``.
        derivative: ``own``: the error is multiplied by the derivative of the activation; else name of a function g(a).
        frozen: layers that do not learn.
        optimizer: name of the optimizer.
        constants: numbers of rule and optimizer by name: ``lr``, ``momentum``, ``weight_decay``, ``decay`` and more.
        plastic: names of pathway weights that learn.
        plasticity: how they learn: ``fixed``, not at all; ``kolen_pollack``, by the changes of the forward weights (a
            direct matrix: by those that error and outputs give); ``two_factor``, each factor by the other. None: the
            rule does not declare that these constants and the pathway are all of its step.
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
    plasticity: Literal["fixed", "kolen_pollack", "two_factor"] | None = None
