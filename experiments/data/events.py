"""Recordings of events of one's own: columns of an HDF5 or .npz file, by their names and with their unit of time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from experiments.data._columns import real_column, whole_column
from experiments.data._coverage import FEW, UNITS
from experiments.data._own_data import check_labels, require_trained, shares
from experiments.data._own_files import NamedArrays
from experiments.data._recordings import Recordings
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe


@recipe("data", "events", source="a file of the user's own")
def events(
    *,
    path: str,
    unit: Literal["s", "ms", "us", "ns"],
    x: str = "x",
    y: str = "y",
    t: str = "t",
    p: str = "p",
    label: str = "label",
    starts: str = "",
    sensor: Sequence[int] | None = None,
    rebase: bool = False,
    ticks: int = 100,
    tick: float = 0.01,
    binary: bool = False,
    validation: float = 0.1,
    test: float = 0.1,
) -> Sequences:
    """Events of a camera, a cochlea or a probe: places, times and polarities of N labelled recordings.

    Each column holds one row a recording (rows of their own lengths, as HDF5 stores them), or the events of all
    recordings one after the other, with ``starts``. How many events lie behind the last tick is said, and stands in the
    provenance.

    Args:
        path: an HDF5 or .npz file, or a folder of .npy files.
        unit: of the times; it has to be stated.
        x: column of places along a row.
        y: column of rows; empty: the sensor is a line.
        t: column of times.
        p: column of polarities, 0 and 1, or -1 and 1; empty: there are none.
        label: column of the classes of the recordings, (N,), 0 to k - 1.
        starts: column of the first event of every recording, (N,) or (N + 1,), where recordings follow each other.
        sensor: height and width (width alone without ``y``), places; None: up to the largest that occurs.
        rebase: whether each recording begins with its first event; False: times count from 0.
        ticks: T; events after ``ticks * tick`` are cut off.
        tick: length of a tick, s.
        binary: whether a channel that fires more than once in a tick counts once.
        validation: share of the recordings for validation, every class in its share.
        test: share of the recordings for the test.

    Returns:
        Events of shape (polarities, height, width) a tick, without ``y`` and ``p`` (width,).

    Raises:
        NeurofaError: a missing column, columns of different lengths, values out of range, or times in another unit.
    """
    file = NamedArrays("events", path)
    labels = whole_column(file.read(label), "labels", file.path)
    classes = check_labels("events", labels)
    names: dict[str, str] = {"x": x, "y": y, "t": t, "p": p}
    cuts = None if not starts else _cuts(file, starts, file.read(x), len(labels))
    columns = {
        key: list(_recordings(file.path, name, file.read(name), len(labels), cuts))
        for key, name in names.items()
        if name
    }
    _require_alike(file.path, names, columns)
    places: dict[str, list[Any]] = {
        key: [whole_column(row, key, file.path) for row in columns[key]] for key in ("y", "x") if key in columns
    }
    sizes = _sensor(file.path, places, sensor)
    polarities = [_polarity(row, file.path) for row in columns["p"]] if p else None
    seconds = [_seconds(row, unit, file.path, rebase=rebase) for row in columns["t"]]
    shape = (*((2,) if p else ()), *sizes)
    recordings = Recordings("events", ticks=ticks, tick=tick, input_shape=shape, binary=binary)
    for i, when in enumerate(seconds):
        channel = np.zeros(len(when), np.int64) if polarities is None else polarities[i]
        for key, size in zip(places, sizes, strict=True):
            channel = channel * size + places[key][i]
        recordings.add(when, channel, int(labels[i]), f"{file.path}, recording {i}")
    whole = recordings.split()
    _say_outside(recordings)
    parts = shares("events", labels, (), validation=validation, test=test)
    require_trained("events", labels[parts["train"]], classes)
    splits = {where: whole.chosen(torch.from_numpy(index)) for where, index in parts.items()}
    provenance = {file.path.name: file.digest, "unit": unit, "kept": recordings.kept}
    return Sequences.of("events", splits, classes=classes, tick=tick, provenance=provenance)


def _cuts(file: NamedArrays, starts: str, values: Any, count: int) -> Any:
    """Return the first event of every recording, and the end of the last, (N + 1,)."""
    begins = whole_column(file.read(starts), starts, file.path)
    total = len(np.asarray(values))
    cuts = begins if len(begins) == count + 1 else np.append(begins, total)
    if len(cuts) != count + 1 or cuts[0] != 0 or cuts[-1] != total or (np.diff(cuts) < 0).any():
        raise NeurofaError(
            f"got {len(begins)} starts from {begins[:1].tolist()} to {begins[-1:].tolist()} for {count} recordings of"
            f" {total} events in '{file.path}'; expected the first event of each, rising from 0; check the column"
        )
    return cuts


def _recordings(path: Path, name: str, values: Any, count: int, cuts: Any) -> Iterator[Any]:
    """Yield a column recording by recording."""
    if cuts is not None:
        column = real_column(values, f"column '{name}'", path)
        if len(column) != cuts[-1]:
            raise NeurofaError(
                f"got {len(column)} values in column '{name}' of '{path}'; expected {cuts[-1]}, one an event; check it"
            )
        yield from (column[begin:end] for begin, end in pairwise(cuts))
        return
    if len(values.shape) == 1 and values.dtype.kind in "fiub":
        raise NeurofaError(
            f"got column '{name}' of {len(values)} single numbers in '{path}'; expected one row of events a recording;"
            " name the column of the first event of each recording with starts="
        )
    if len(values) != count:
        raise NeurofaError(
            f"got {len(values)} recordings in column '{name}' of '{path}' with {count} labels; expected as many; check"
            " both"
        )
    yield from (real_column(row, f"column '{name}', recording {i}", path) for i, row in enumerate(values))


def _require_alike(path: Path, names: dict[str, str], columns: dict[str, list[Any]]) -> None:
    for i, row in enumerate(columns["t"]):
        for key, column in columns.items():
            if len(column[i]) != len(row):
                raise NeurofaError(
                    f"got {len(column[i])} values in column '{names[key]}' and {len(row)} times in recording {i} of"
                    f" '{path}'; expected as many; check both"
                )


def _sensor(path: Path, places: dict[str, list[Any]], sensor: Sequence[int] | None) -> tuple[int, ...]:
    """Return the sizes of the sensor, and refuse places outside it."""
    ends = {key: max((int(row.max()) for row in rows if len(row)), default=0) for key, rows in places.items()}
    begins = {key: min((int(row.min()) for row in rows if len(row)), default=0) for key, rows in places.items()}
    sizes = tuple(end + 1 for end in ends.values()) if sensor is None else tuple(sensor)
    if len(sizes) != len(places) or min(sizes) < 1:
        raise NeurofaError(
            f"got sensor={list(sizes)}; expected {'height and width' if len(places) == 2 else '[width]'}; change sensor"
        )
    for (key, end), size in zip(ends.items(), sizes, strict=True):
        if begins[key] < 0 or end >= size:
            raise NeurofaError(
                f"got {key} from {begins[key]} to {end} in '{path}'; expected 0 to {size - 1}; check the column, or"
                " change sensor"
            )
    if np.prod(sizes) > 2**24:
        raise NeurofaError(
            f"got places up to {list(ends.values())} in '{path}', a sensor of {np.prod(sizes):,} places; expected at"
            " most 16,777,216; check the columns"
        )
    return sizes


def _polarity(values: Any, path: Path) -> Any:
    """Return polarities as 0 and 1."""
    column = whole_column(values, "polarities", path)
    if len(column) and (column.min() < -1 or column.max() > 1):
        raise NeurofaError(
            f"got polarities from {column.min()} to {column.max()} in '{path}'; expected 0 and 1, or -1 and 1; check"
            " the column, or leave it out with p=''"
        )
    return (column > 0).astype(np.int64)


def _seconds(values: Any, unit: str, path: Path, *, rebase: bool) -> Any:
    """Return the times of one recording in seconds."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise NeurofaError(f"got a time that is not finite in '{path}'; expected numbers; clean the column")
    # large counts of nanoseconds are subtracted before they are rounded to a float
    begun = values - values.min() if rebase and len(values) else values
    return begun.astype(np.float64) * ({"s": 1.0} | UNITS)[unit]


def _say_outside(recordings: Recordings) -> None:
    total = recordings.outside + (inside := recordings.inside)
    if recordings.outside and inside >= FEW * total:  # of fewer the coverage itself warns
        warnings.warn(
            f"events keeps {recordings.kept}; {recordings.outside:,} fell outside: raise ticks or tick to keep them",
            stacklevel=3,
        )
