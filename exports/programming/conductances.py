"""Weights as conductances on tiles, in siemens, with everything that whoever programs them needs to know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from exports.graph.arrays import Matrix
from exports.programming.integers import row_blocks
from hwmodels.arrays.conductance import ConductanceMap, Conductances, DifferentialPair
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import Spec

MICRO = 1e-6
"""Conductance maps count in uS, files in S."""


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """How matrices become conductances.

    Args:
        tile: rows (inputs) and columns (outputs) of one array.
        conductance: the map, a spec; None: a differential pair over the range of the device that holds the weights, or
            over 0 to 25 uS where it names none.
        tolerance: how far a programmed conductance may be off, as a share of g_max - g_min.
    """

    tile: tuple[int, int] = (256, 256)
    conductance: str | None = None
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        if min(self.tile) < 1:
            raise NeurofaError(f"got tiles of {self.tile[0]}x{self.tile[1]}; expected at least 1x1; use 256x256")
        if not 0 < self.tolerance < 1:
            raise NeurofaError(f"got a tolerance of {self.tolerance}; expected a share between 0 and 1; 0.02 is usual")
        if self.conductance is not None:
            build("conductance", self.conductance)

    def of(self, matrix: Matrix) -> ConductanceMap:
        """The map of one matrix."""
        if self.conductance is not None:
            found: ConductanceMap = build("conductance", self.conductance)
            return found
        if matrix.conductance is None:
            return DifferentialPair()
        low, high = matrix.conductance
        return DifferentialPair(g_min=low / MICRO, g_max=high / MICRO)


@dataclass(frozen=True)
class TileMap:
    """One tile of one matrix."""

    row: int
    """First input."""
    column: int
    """First output."""
    planes: Conductances
    """Conductances by plane, S; (rows, columns), or (rows, 1) for a column of references."""
    faults: Tensor | None
    """(rows, columns), True where an element cannot be written."""

    @property
    def name(self) -> str:
        """Of the tile's group in a file."""
        return f"{self.row}_{self.column}"


@dataclass(frozen=True)
class Mapped:
    """A matrix on tiles; the tiles are made one after the other."""

    matrix: Matrix
    mapping: Mapping
    map: ConductanceMap
    scale: float
    """uS per unit of weight, as the map counts."""

    @property
    def spec(self) -> str:
        """Spec of the map."""
        return spec_of(self.map)

    @property
    def tolerance(self) -> float:
        """S."""
        return self.mapping.tolerance * self.map.span * MICRO

    def tiles(self) -> Iterator[TileMap]:
        """All tiles, row by row."""
        inputs = self.matrix.flat.t()
        faults = None if self.matrix.faults is None else self.matrix.faults.flatten(1).t()
        rows, columns = self.mapping.tile
        scale = torch.tensor(self.scale, dtype=inputs.dtype)
        for row in range(0, inputs.shape[0], rows):
            for column in range(0, inputs.shape[1], columns):
                at = slice(row, row + rows), slice(column, column + columns)
                planes = self.map.split(inputs[at], scale)
                yield TileMap(
                    row, column, {key: g * MICRO for key, g in planes.items()}, None if faults is None else faults[at]
                )


def spec_of(conductance: ConductanceMap) -> str:
    """The spec that builds this map again."""
    return str(Spec(conductance.name, asdict(conductance)))


def mapped(matrix: Matrix, mapping: Mapping) -> Mapped:
    """Choose map and scale for a matrix: the largest weight fills the range.

    Raises:
        NeurofaError: weights that are not finite.
    """
    chosen = mapping.of(matrix)
    # of the largest weight, found block by block: nothing of the matrix's size is made
    largest = max((float(matrix.values[rows].abs().amax()) for rows in row_blocks(matrix.values)), default=0.0)
    scale = float(chosen.scale(matrix.values.new_tensor(largest)))
    if not 0 < scale < float("inf"):
        raise NeurofaError(f"got weights with a largest size of {1 / scale if scale else 'infinity'}; expected finite"
                           " numbers; train again")  # fmt: skip
    return Mapped(matrix, mapping, chosen, scale)


def weights_of(spec: str, scale: float, planes: Conductances) -> Tensor:
    """Weights (rows, columns) of one tile's conductances.

    Args:
        spec: of the map.
        scale: S per unit of weight.
        planes: S, by plane.
    """
    found: ConductanceMap = build("conductance", spec)
    return found.join(
        {key: g / MICRO for key, g in planes.items()}, next(iter(planes.values())).new_tensor(scale / MICRO)
    )
