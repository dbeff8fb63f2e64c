"""Recordings of event cameras: pixels and polarities as channels, pooled in blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import _files
from experiments.data._archives import Archive
from experiments.data._recordings import Recordings
from hwmodels.errors import NeurofaError

OVERFLOW_ROW, OVERFLOW_TIME = 240, 2**13
"""An event in that row, past any sensor, marks an overflow of the clock: add that many microseconds to later times."""


@dataclass(frozen=True, kw_only=True)
class CameraArchive:
    """A published archive of camera recordings, one file each."""

    archive: Archive
    recordings: int
    """Number of the files."""


class CameraRecordings:
    """Collects the recordings of a square event camera.

    Args:
        name: of the data set, for messages.
        side: pixels of the sensor in a row.
        pool: side of the square blocks of pixels that become one channel of each polarity.
        ticks: T.
        tick: length of a tick, s.
        binary: whether a channel that fires more than once in a tick counts once.

    Raises:
        NeurofaError: blocks that do not divide the sensor, no ticks or no time.
    """

    def __init__(self, name: str, side: int, *, pool: int, ticks: int, tick: float, binary: bool) -> None:
        if pool < 1 or side % pool:
            raise NeurofaError(f"got {name}(pool={pool}); expected a divisor of {side} pixels; use 1 or 2")
        self.side, self.pool, self.pooled = side, pool, side // pool
        shape = (2, self.pooled, self.pooled)
        self.recordings = Recordings(name, ticks=ticks, tick=tick, input_shape=shape, binary=binary)

    def add(self, events: Any, label: int, source: str) -> None:
        """Add one recording.

        Args:
            events: columns x (n,), rows y (n,), polarities p (n,), 0 or 1, and times (n,), s.
            label: class of the recording.
            source: the file, for messages.

        Raises:
            NeurofaError: a pixel or polarity that the sensor does not have.
        """
        *places, seconds = events
        for what, values, end in zip(("columns", "rows", "polarities"), places, (self.side, self.side, 2), strict=True):
            if len(values) and (values.min() < 0 or values.max() >= end):
                raise NeurofaError(
                    f"got {what} from {values.min()} to {values.max()} in {source}; expected 0 to {end - 1};"
                    " it is damaged: fetch it again"
                )
        x, y, p = (np.asarray(values).astype(np.int64) for values in places)
        channel = (p * self.pooled + y // self.pool) * self.pooled + x // self.pool
        self.recordings.add(seconds, channel, label, source)

    def add_files(self, folder: Path, files: Sequence[tuple[int, Path]], read: Callable[[Path], Any]) -> str:
        """Add one recording of each file.

        Args:
            folder: of the data set.
            files: label and path of each recording.
            read: returns the events of a file, as :meth:`add` takes them.

        Returns:
            A checksum of all names, relative to the folder, with the contents.
        """
        checksum = hashlib.sha256()
        for label, path in files:
            self.add(read(path), label, str(path))
            checksum.update(path.relative_to(folder).as_posix().encode() + _files.read_file(path))
        return f"sha256:{checksum.hexdigest()} of all names with their contents"


def read_words(path: Path) -> tuple[Any, Any, Any, Any]:
    """Read a file of 40-bit events: x (8 bits), y (8), polarity (1), time (23, microseconds), big-endian.

    Source: G. Orchard et al., Converting static image datasets to spiking neuromorphic datasets using saccades,
    Front. Neurosci. 9 (2015) 437, and the reading code that came with the files (its clock overflow).

    Returns:
        (n,) columns, rows, polarities and times in seconds.

    Raises:
        NeurofaError: not a whole number of events.
    """
    blob = _files.read_file(path)
    if not blob or len(blob) % 5:
        raise NeurofaError(
            f"got {path} with {len(blob)} bytes; expected a multiple of 5 (one event); it is damaged: fetch it again"
        )
    word = np.frombuffer(blob, np.uint8).reshape(-1, 5).astype(np.int64)
    x, y, p = word[:, 0], word[:, 1], word[:, 2] >> 7
    micros = (word[:, 2] & 127) << 16 | word[:, 3] << 8 | word[:, 4]
    over = y == OVERFLOW_ROW
    micros = micros + OVERFLOW_TIME * over.cumsum()
    return x[~over], y[~over], p[~over], micros[~over] * 1e-6
