"""The HDF5 files of the Heidelberg data sets: ragged spike times and units, labels, speakers.

Format: ``spikes/times`` (N ragged float16 rows, seconds), ``spikes/units`` (N ragged rows, 0 to 699), ``labels`` (N),
``extra/speaker`` (N). Source: B. Cramer et al., IEEE TNNLS 2020, arXiv 1910.07407.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.data._archives import Archive, digest, unpacked
from experiments.data._recordings import EventSplit, Recordings
from hwmodels.errors import NeurofaError

UNITS = 700
"""Channels of the artificial cochlea."""
ADDRESS = "https://zenkelab.org/datasets/"


def archive(name: str, md5: str) -> Archive:
    """The published zip file of one HDF5 file."""
    return Archive(name=f"{name}.zip", member=name, md5=md5, addresses=(f"{ADDRESS}{name}.zip",))


def load(
    data: str, folder: str, source: Archive, provenance: dict[str, str],
    *, classes: int, channels: int, ticks: int, tick: float, binary: bool, speakers: bool = False,
) -> tuple[EventSplit, Tensor]:  # fmt: skip
    """Read one file, unpacking or downloading it where it is missing; see :func:`read`.

    Raises:
        NeurofaError: a file that is damaged or cannot be had, or options that do not fit.
    """
    if channels < 1 or UNITS % channels:
        raise NeurofaError(
            f"got {data}(channels={channels}); expected a divisor of {UNITS}, so that neighbours are pooled evenly;"
            " use 700, 350, 140, 100 or 70"
        )
    made = Recordings(data, ticks=ticks, tick=tick, input_shape=(channels,), binary=binary)
    path = unpacked(folder, source)
    spoken = read(path, made, classes=classes, pool=UNITS // channels, speakers=speakers)
    provenance[path.name] = f"sha256:{digest(path)}"
    return made.split(), spoken


def read(path: Path, made: Recordings, *, classes: int, pool: int = 1, speakers: bool = False) -> Tensor:
    """Read the spikes of one file.

    Args:
        path: the HDF5 file.
        made: gathers the recordings.
        classes: labels must be below that number.
        pool: neighbouring units that become one channel.
        speakers: read who speaks.

    Returns:
        (N,) int64 speakers; empty if they are not asked for.

    Raises:
        NeurofaError: h5py is missing, the file is damaged or has another layout.
    """
    try:
        import h5py
    except ImportError:
        raise NeurofaError(
            f"got no h5py to read {path}; expected it beside neurofa; run: pip install 'neurofa[datasets]'"
        ) from None
    wanted = ["spikes/times", "spikes/units", "labels"] + (["extra/speaker"] if speakers else [])
    try:
        with h5py.File(path, "r") as file:
            columns = {key: np.asarray(file[key][:]) for key in wanted}
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise NeurofaError(f"got {path} ({reason}); expected a whole HDF5 file; delete it to fetch it again") from None
    except (KeyError, AttributeError, ValueError):
        raise NeurofaError(
            f"got {path} without {', '.join(wanted)}; expected a file of the Heidelberg data sets; fetch it again"
        ) from None
    _check(path, columns, classes)
    rows = zip(columns["spikes/times"], columns["spikes/units"], columns["labels"], strict=True)
    for i, (times, units, label) in enumerate(rows):
        # pooled as it is, so that a unit out of range stays out of range
        made.add(times, np.asarray(units).astype(np.int64) // pool, int(label), f"{path}, recording {i}")
    return torch.from_numpy(columns["extra/speaker"].astype(np.int64)) if speakers else torch.zeros(0).long()


def _check(path: Path, columns: dict[str, Any], classes: int) -> None:
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) != 1 or not len(columns["labels"]):
        raise NeurofaError(
            f"got {path} with {', '.join(f'{n} {key}' for key, n in lengths.items())}; expected as many of each, and"
            " some; it is damaged: fetch it again"
        )
    low, high = int(columns["labels"].min()), int(columns["labels"].max())
    if low < 0 or high >= classes:
        raise NeurofaError(
            f"got labels from {low} to {high} in {path}; expected 0 to {classes - 1}; fetch the right file"
        )
