"""DVS128 Gesture: hand and arm gestures in front of an event camera."""

from __future__ import annotations

import io
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.data import _files
from experiments.data._archives import Archive, unpacked
from experiments.data._columns import real_column
from experiments.data._event_camera import CameraArchive, CameraRecordings
from experiments.data._held_out import held_groups
from experiments.data._recordings import EventSplit
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

_ADDRESS = "https://www.neuromorphic-vision.com/public/downloads/"
FOLDER = "DVSGesture"


def _published(name: str, md5: str, recordings: int) -> CameraArchive:
    file = f"{name}.tar.gz"
    archive = Archive(name=file, member=name, md5=md5, addresses=(f"{_ADDRESS}{file}",))
    return CameraArchive(archive=archive, recordings=recordings)


TRAIN = _published("ibmGestureTrain", "3a8f0d4120a166bac7591f77409cb105", 1077)
TEST = _published("ibmGestureTest", "56070e45dadaa85fff82e0fbfbc06de5", 264)
CLASSES, SIDE = 11, 128


@recipe("data", "dvs_gesture", source="Amir et al., CVPR 2017, in the pieces that the library tonic distributes")
def dvs_gesture(
    *, ticks: int = 150, tick: float = 0.01, pool: int = 4, binary: bool = False, validation: float = 0.1
) -> Sequences:
    """Eleven gestures, 128 x 128 pixels and two polarities: 1077 + 264 recordings, the split of tonic.

    Other libraries cut the raw files into 1176 + 288: accuracies of the two do not compare.

    Args:
        ticks: T; events after ``ticks * tick`` are cut off.
        tick: length of a tick, s; times have a precision of 1 ms.
        pool: side of the square blocks of pixels that become one; a power of 2.
        binary: whether a pixel that fires more than once in a tick counts once.
        validation: least share of the training recordings to hold out, person by person; 0: none.

    Returns:
        Events of shape (2, 128 / pool, 128 / pool) a tick: polarity, row, column.

    Raises:
        NeurofaError: a file that is damaged or cannot be downloaded, or options that do not fit.
    """
    provenance: dict[str, str] = {}
    camera = partial(CameraRecordings, "dvs_gesture", SIDE, ticks=ticks, tick=tick, pool=pool, binary=binary)
    (train, persons), (test, _) = (_load(source, camera(), provenance) for source in (TRAIN, TEST))
    kept, held, who = held_groups("dvs_gesture", torch.tensor(persons), validation)
    splits = {"train": train.chosen(kept), "validation": train.chosen(held), "test": test}
    provenance["validation_persons"] = ", ".join(map(str, who))
    return Sequences.of("dvs_gesture", splits, classes=CLASSES, tick=tick, provenance=provenance)


def _load(source: CameraArchive, camera: CameraRecordings, provenance: dict[str, str]) -> tuple[EventSplit, list[int]]:
    """Return the recordings of an archive, and the person in each of them."""
    folder = unpacked(FOLDER, source.archive)
    paths = _files.files_in(folder, "*/*.npy")
    if len(paths) != source.recordings:
        raise NeurofaError(
            f"got {len(paths)} recordings in {folder}; expected {source.recordings} .npy files in its folders;"
            " unpack the archive again"
        )
    persons, files = [], []
    for path in paths:
        person = re.match(r"user(\d+)", path.parent.name)
        if not path.stem.isdecimal() or int(path.stem) >= CLASSES or person is None:
            raise NeurofaError(
                f"got {path}; expected user<number>_<light>/<0 to {CLASSES - 1}>.npy; unpack the archive again"
            )
        persons.append(int(person[1]))
        files.append((int(path.stem), path))
    provenance[source.archive.member] = camera.add_files(folder, files, _read_table)
    events = camera.recordings.split()
    provenance[f"{source.archive.member}, kept"] = camera.recordings.kept
    return events, persons


def _read_table(path: Path) -> tuple[Any, Any, Any, Any]:
    """Return columns, rows, polarities and times (s) of a file of rows x, y, p, t (ms)."""
    try:
        table = np.load(io.BytesIO(_files.read_file(path)), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise NeurofaError(f"got {path} ({error}); expected a whole .npy file; unpack the archive again") from None
    if table.ndim != 2 or table.shape[1] != 4:
        raise NeurofaError(f"got {path} of shape {table.shape}; expected (n, 4) rows x, y, p, t; fetch it again")
    x, y, p, millis = (real_column(column, "events", path) for column in table.T)
    return x, y, p, millis * 1e-3
