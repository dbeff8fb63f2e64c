"""Weights as conductances on tiles, in siemens, with what is needed to program them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from exports.graph.arrays import Matrix
from exports.programming.integers import row_blocks
from hwmodels.arrays.conductance import ConductanceMap, Conductances, DifferentialPair
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import Spec

MICRO = 1e-6
"""S for 1 uS: conductance maps count in uS, files in S."""


@dataclass(frozen=True, kw_only=True)
class TileMapping:
    """How matrices become conductances.

    Args:
        tile: rows (inputs) and columns (outputs) of one array.
        conductance: spec of the map; None: a differential pair over the range of the device that holds the weights, or
            over 0 to 25 uS where it names none.
        tolerance: largest error of a programmed conductance, as a share of g_max - g_min.

    Raises:
        NeurofaError: the tile is empty, the tolerance no share, or the map unknown.
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

    def conductance_map(self, matrix: Matrix) -> ConductanceMap:
        """Return the conductance map of one matrix: the chosen one, or a pair over the range of its device."""
        if self.conductance is not None:
            chosen: ConductanceMap = build("conductance", self.conductance)
            return chosen
        if matrix.conductance is None:
            return DifferentialPair()
        low, high = matrix.conductance
        return DifferentialPair(g_min=low / MICRO, g_max=high / MICRO)


@dataclass(frozen=True)
class TileConductances:
    """Conductances of one tile of one matrix."""

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
        """Name of the tile's group in a file."""
        return f"{self.row}_{self.column}"


@dataclass(frozen=True)
class MappedMatrix:
    """A matrix with the map and scale of its conductances; tiles are made one after the other."""

    matrix: Matrix
    mapping: TileMapping
    map: ConductanceMap
    scale: float
    """uS for 1 unit of weight."""

    @property
    def tolerance(self) -> float:
        """Largest error of a programmed conductance, S."""
        return self.mapping.tolerance * self.map.span * MICRO

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that a file holds for the conductances of a matrix, and of each of its tiles.

        ``map`` (its spec), ``scale`` with ``scale_unit``; ``g_min``, ``g_max`` and ``tolerance``, S.
        """
        return {
            "map": str(Spec(self.map.name, asdict(self.map))),
            "scale": self.scale * MICRO,
            "scale_unit": "S per unit of weight",
            "g_min": self.map.g_min * MICRO,
            "g_max": self.map.g_max * MICRO,
            "tolerance": self.tolerance,
        }

    def tiles(self) -> Iterator[TileConductances]:
        """Yield all tiles, row of tiles by row of tiles."""
        inputs = self.matrix.flat.t()
        faults = None if self.matrix.faults is None else self.matrix.faults.flatten(1).t()
        rows, columns = self.mapping.tile
        scale = torch.tensor(self.scale, dtype=inputs.dtype)
        for row in range(0, inputs.shape[0], rows):
            for column in range(0, inputs.shape[1], columns):
                window = slice(row, row + rows), slice(column, column + columns)
                planes = {key: g * MICRO for key, g in self.map.split(inputs[window], scale).items()}
                yield TileConductances(row, column, planes, None if faults is None else faults[window])


def map_matrix(matrix: Matrix, mapping: TileMapping) -> MappedMatrix:
    """Choose the map and the scale of a matrix, so that its largest weight fills the range.

    Raises:
        NeurofaError: the weights are not finite.
    """
    chosen = mapping.conductance_map(matrix)
    # block by block: nothing of the matrix's size is allocated
    largest = max((float(matrix.values[rows].abs().amax()) for rows in row_blocks(matrix.values)), default=0.0)
    scale = float(chosen.scale(matrix.values.new_tensor(largest)))
    if not 0 < scale < float("inf"):
        size = 1 / scale if scale else "infinity"
        raise NeurofaError(f"got weights with a largest size of {size}; expected finite numbers; train again")
    return MappedMatrix(matrix, mapping, chosen, scale)


def conductances_to_weights(spec: str, scale: float, planes: Conductances) -> Tensor:
    """Return the weights (..., rows, columns) that the conductances of one tile stand for.

    Args:
        spec: spec of the conductance map.
        scale: S for 1 unit of weight.
        planes: S, by plane, (..., rows, columns).
    """
    chosen: ConductanceMap = build("conductance", spec)
    unit = next(iter(planes.values())).new_tensor(scale / MICRO)
    return chosen.join({key: g / MICRO for key, g in planes.items()}, unit)
