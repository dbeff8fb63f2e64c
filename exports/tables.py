"""Conductances for lab programmers: one CSV and one npz for each tile.

Written with numpy: a library of data frames would be one more dependency for a table of plain numbers.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from exports.hdf5.read import HardwareFile, StoredTile
from hwmodels.errors import NeurofaError
from hwmodels.files import remove_abandoned, write_atomic, write_errors


def write_tables(file: HardwareFile, folder: Path) -> list[Path]:
    """Write the conductances of every tile of every matrix as a CSV file and as an npz file.

    A line of the CSV is one crosspoint: its row and column in the tile, its input and output in the matrix, and the
    conductances of its devices, S. The npz has one array for each plane of conductances, S, one of the faults where
    they are known, and the constants of the tile: ``map``, ``unit``, ``first_input``, ``first_output``, ``scale``,
    ``g_min``, ``g_max`` and ``tolerance``.

    Args:
        file: an exported or measured file with conductances.
        folder: created where it is missing.

    Returns:
        Paths of the written files: ``MATRIX-TILE.csv`` and ``MATRIX-TILE.npz`` of each tile.

    Raises:
        NeurofaError: no conductances, or the folder cannot be written.
    """
    paths, written = file.tiled(), list[Path]()
    if not paths:
        raise NeurofaError(f"got '{file.path}' without conductances; expected some; export with --tile 256x256")
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        for old in folder.glob("*.*-[0-9]*_[0-9]*.*"):  # tiles of another size would stand beside these
            if old.suffix in (".csv", ".npz"):
                old.unlink()
    for path in paths:
        for tile in file.tiles(path):
            stem = f"{path.replace('/', '.')}-{tile.name}"
            for suffix, content in ((".csv", _csv(tile)), (".npz", _npz(tile))):
                written.append(folder / f"{stem}{suffix}")
                write_atomic(written[-1], content)
    return written


def _npz(tile: StoredTile) -> bytes:
    buffer = io.BytesIO()
    keys = ("first_input", "first_output", "scale", "g_min", "g_max", "tolerance")
    arrays: dict[str, Any] = {"map": tile.attributes["map"], "unit": "S"}
    arrays |= {key: tile.attributes[key] for key in keys} | {key: g.numpy() for key, g in tile.planes.items()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _csv(tile: StoredTile) -> bytes:
    own, names = tile.attributes, sorted(tile.planes)
    shape = np.broadcast_shapes(*(g.shape for g in tile.planes.values()))
    row, column = np.indices(shape)
    # a column of references has one device for each row
    planes = [np.broadcast_to(tile.planes[key].numpy(), shape) for key in names]
    columns = [row, column, own["first_input"] + row, own["first_output"] + column, *planes]
    comments = [f"# {key}: {own[key]}" for key in ("map", "scale", "scale_unit", "g_min", "g_max", "tolerance")]
    header = ["row", "column", "input", "output", *(key if key == "faults" else f"{key}_S" for key in names)]
    formats = ["%d"] * 4 + ["%d" if key == "faults" else "%.9g" for key in names]
    text, numbers = io.StringIO(), np.stack([values.ravel() for values in columns], axis=1)
    title = "\n".join([*comments, ",".join(header)])
    np.savetxt(text, numbers, fmt=formats, delimiter=",", header=title, comments="")
    return text.getvalue().encode()
