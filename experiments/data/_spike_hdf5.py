"""The HDF5 files of the Heidelberg data sets: ragged spike times and units, labels, speakers.

Format: ``spikes/times`` (N ragged float16 rows, seconds), ``spikes/units`` (N ragged rows, 0 to 699), ``labels`` (N),
``extra/speaker`` (N). Source: B. Cramer et al., IEEE TNNLS 2020, arXiv 1910.07407.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.data._archives import Archive, digest, unpacked
from experiments.data._columns import real_column, whole_column
from experiments.data._recordings import EventSplit, Recordings
from exports.hdf5.apart import LayoutError, read_columns
from hwmodels.errors import NeurofaError

UNITS = 700
"""Channels of the artificial cochlea."""
ADDRESS = "https://zenkelab.org/datasets/"


def heidelberg_archive(name: str, md5: str) -> Archive:
    """Return the published zip file of one HDF5 file."""
    return Archive(name=f"{name}.zip", member=name, md5=md5, addresses=(f"{ADDRESS}{name}.zip",))


@dataclass(frozen=True, kw_only=True)
class HeidelbergReader:
    """Reads the HDF5 files of one of the Heidelberg data sets, SHD or SSC.

    Raises:
        NeurofaError: a number of channels that does not divide that of the units.
    """

    name: str
    """Name of the data set, for messages."""
    folder: str
    """Folder of its files, relative to a data folder."""
    classes: int
    """Labels have to be below that number."""
    channels: int
    """Channels to which neighbouring units are pooled."""
    ticks: int
    """T."""
    tick: float
    """Length of a tick, s."""
    binary: bool
    """Whether a channel that fires more than once in a tick counts once."""

    def __post_init__(self) -> None:
        if self.channels < 1 or UNITS % self.channels:
            raise NeurofaError(
                f"got {self.name}(channels={self.channels}); expected a divisor of {UNITS}, so that neighbours are"
                " pooled evenly; use 700, 350, 140, 100 or 70"
            )

    def read(
        self, archive: Archive, provenance: dict[str, str], *, speakers: bool = False
    ) -> tuple[EventSplit, Tensor]:
        """Read one file, which is unpacked or downloaded where it is missing.

        Args:
            archive: the published archive of the file.
            provenance: the checksum of the file, and how many of its events are kept, are added to it.
            speakers: whether the speakers are read.

        Returns:
            The recordings, and their (N,) int64 speakers, empty without ``speakers``.

        Raises:
            NeurofaError: a file that is damaged, cannot be downloaded or has another layout, or h5py is missing.
        """
        shape = (self.channels,)
        recordings = Recordings(self.name, ticks=self.ticks, tick=self.tick, input_shape=shape, binary=self.binary)
        path = unpacked(self.folder, archive)
        columns = _read_columns(path, self.classes, ["extra/speaker"] if speakers else [])
        rows = zip(columns["spikes/times"], columns["spikes/units"], columns["labels"], strict=True)
        for i, (times, units, label) in enumerate(rows):
            # pooled before it is checked, so that a unit out of range stays out of range
            source = f"{path}, recording {i}"
            channels = whole_column(units, "channels", source) // (UNITS // self.channels)
            recordings.add(real_column(times, "times", source), channels, int(label), source)
        provenance[path.name] = f"sha256:{digest(path)}"
        spoken = whole_column(columns["extra/speaker"], "speakers", path) if speakers else np.zeros(0, np.int64)
        events = recordings.split()
        provenance[f"{path.name}, kept"] = recordings.kept
        return events, torch.from_numpy(spoken)


def _read_columns(path: Path, classes: int, extra: list[str]) -> dict[str, Any]:
    """Return the columns of a file by name; labels have to be below ``classes``."""
    if importlib.util.find_spec("h5py") is None:
        raise NeurofaError(
            f"got no h5py to read {path}; expected it beside neurofa; run: pip install 'neurofa[datasets]'"
        )
    names = ["spikes/times", "spikes/units", "labels", *extra]
    try:
        columns: dict[str, Any] = dict(read_columns(path, names))
    except LayoutError:
        raise NeurofaError(
            f"got {path} without {', '.join(names)}; expected a file of the Heidelberg data sets; fetch it again"
        ) from None
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or not len(columns["labels"]):
        raise NeurofaError(
            f"got {path} with {', '.join(f'{n} {key}' for key, n in lengths.items())}; expected as many of each, and"
            " some; it is damaged: fetch it again"
        )
    columns["labels"] = whole_column(columns["labels"], "labels", path)
    low, high = int(columns["labels"].min()), int(columns["labels"].max())
    if low < 0 or high >= classes:
        raise NeurofaError(
            f"got labels from {low} to {high} in {path}; expected 0 to {classes - 1}; fetch the right file"
        )
    return columns
