"""Tiles: a matrix cut into the pieces that single arrays hold, and its reassembly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError


@dataclass(frozen=True)
class Tile:
    """One piece of a matrix, as one array holds it."""

    row: int
    """First row in the matrix."""
    column: int
    """First column in the matrix."""
    values: Tensor
    """(rows, columns) of the piece; pieces at the lower and right edge are smaller."""


def partition(matrix: Tensor, rows: int, columns: int) -> list[Tile]:
    """Cut a matrix into tiles of at most rows x columns, row by row.

    Args:
        matrix: (n_in, n_out).
        rows: number of rows of one array, 1 or more.
        columns: number of columns of one array, 1 or more.

    Returns:
        Views of the matrix, not copies.

    Raises:
        NeurofaError: not a matrix, or arrays without rows or columns.
    """
    if matrix.ndim != 2 or rows < 1 or columns < 1:
        raise NeurofaError(
            f"got shape {tuple(matrix.shape)} for tiles of {rows} x {columns}; expected a matrix and sizes of at"
            " least 1; flatten the weights or change the sizes"
        )
    return [
        Tile(row, column, matrix[row : row + rows, column : column + columns])
        for row in range(0, matrix.shape[0], rows)
        for column in range(0, matrix.shape[1], columns)
    ]


def reassemble(tiles: list[Tile], shape: tuple[int, int]) -> Tensor:
    """Assemble a matrix from its tiles, given in any order.

    Args:
        tiles: from :func:`partition`, or measured ones.
        shape: (n_in, n_out) of the matrix.

    Raises:
        NeurofaError: the tiles leave a gap, overlap, or lie outside.
    """
    if not tiles:
        raise NeurofaError("got no tiles; expected those of partition; give them all")
    matrix = tiles[0].values.new_empty(shape)
    covered = torch.zeros(shape, dtype=torch.int32)
    for tile in tiles:
        rows, columns = tile.values.shape
        if not (0 <= tile.row <= shape[0] - rows and 0 <= tile.column <= shape[1] - columns):
            raise NeurofaError(
                f"got a tile of {rows} x {columns} at ({tile.row}, {tile.column}); expected it inside {shape};"
                " check its address"
            )
        at = slice(tile.row, tile.row + rows), slice(tile.column, tile.column + columns)
        matrix[at] = tile.values
        covered[at] += 1
    if not bool((covered == 1).all()):
        raise NeurofaError(
            f"got tiles that cover {int((covered == 1).sum())} of {covered.numel()} weights exactly once; expected all;"
            " give every tile once"
        )
    return matrix
