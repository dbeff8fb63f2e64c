"""Conductances for lab programmers: one CSV and one npz a tile."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from exports.hdf5.read import Stored
from hwmodels.errors import NeurofaError
from hwmodels.files import write_atomic


def write_tables(stored: Stored, folder: Path) -> list[Path]:
    """Write every tile of every matrix; a line of a CSV is one crosspoint, with the conductances of its devices in S.

    Args:
        stored: a file with conductances.
        folder: it need not exist.

    Raises:
        NeurofaError: no conductances, or the folder cannot be written.
    """
    paths, found = stored.tiled(), list[Path]()
    if not paths:
        raise NeurofaError(f"got '{stored.path}' without conductances; expected some; export with --tile 256x256")
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        for name, own, tensors in stored.tiles(path):
            planes = {key: g.numpy() for key, g in tensors.items()}
            stem = folder / f"{path.replace('/', '.')}-{name}"
            write_atomic(stem.with_name(f"{stem.name}.csv"), _csv(own, planes).encode())
            buffer = io.BytesIO()
            about = {
                key: np.asarray(own[key])
                for key in ("first_input", "first_output", "scale", "g_min", "g_max", "tolerance")
            }
            np.savez_compressed(buffer, map=np.asarray(own["map"]), unit=np.asarray("S"), **about, **planes)  # type: ignore[arg-type]
            write_atomic(stem.with_name(f"{stem.name}.npz"), buffer.getvalue())
            found += [stem.with_name(f"{stem.name}.csv"), stem.with_name(f"{stem.name}.npz")]
    return found


def _csv(own: dict[str, Any], planes: dict[str, np.ndarray[Any, Any]]) -> str:
    text = io.StringIO()
    for key in ("map", "scale", "scale_unit", "g_min", "g_max", "tolerance"):
        text.write(f"# {key}: {own[key]}\n")
    writer = csv.writer(text, lineterminator="\n")
    names = sorted(planes)
    writer.writerow(["row", "column", "input", "output", *[key if key == "faults" else f"{key}_S" for key in names]])
    rows = max(g.shape[0] for g in planes.values())
    columns = max(g.shape[1] for g in planes.values())
    for row in range(rows):
        for column in range(columns):
            # a column of references has one device a row
            values = [planes[key][row, min(column, planes[key].shape[1] - 1)] for key in names]
            shown = [int(v) if key == "faults" else f"{v:.9g}" for key, v in zip(names, values, strict=True)]
            writer.writerow([row, column, own["first_input"] + row, own["first_output"] + column, *shown])
    return text.getvalue()
