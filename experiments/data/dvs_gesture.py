"""DVS128 Gesture: hand and arm gestures in front of an event camera."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass

import numpy as np
import torch

from experiments.data import _files
from experiments.data._archives import Archive, unpacked
from experiments.data._held_out import held_groups
from experiments.data._pixels import Camera
from experiments.data._recordings import EventSplit
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

_ADDRESS = "https://www.neuromorphic-vision.com/public/downloads/"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published archive, and how many recordings are in it."""

    archive: Archive
    recordings: int


def _source(name: str, md5: str, recordings: int) -> Source:
    file = f"{name}.tar.gz"
    return Source(
        archive=Archive(name=file, member=name, md5=md5, addresses=(f"{_ADDRESS}{file}",)), recordings=recordings
    )


FOLDER = "DVSGesture"
TRAIN = _source("ibmGestureTrain", "3a8f0d4120a166bac7591f77409cb105", 1077)
TEST = _source("ibmGestureTest", "56070e45dadaa85fff82e0fbfbc06de5", 264)
CLASSES, SIDE = 11, 128


@recipe("data", "dvs_gesture", source="Amir et al., CVPR 2017, in the pieces that the library tonic distributes")
def dvs_gesture(
    *, ticks: int = 150, tick: float = 0.01, pool: int = 4, binary: bool = False, validation: float = 0.1
) -> Sequences:
    """Eleven gestures, 128 x 128 pixels and two polarities: 1077 + 264 recordings, the split of tonic.

    Other libraries cut the raw files into 1176 + 288: accuracies of the two do not compare.

    Args:
        ticks: T; what comes later than ``ticks * tick`` is cut off.
        tick: length of a tick, s; times have a precision of 1 ms.
        pool: blocks of that many pixels squared become one; a power of 2.
        binary: a pixel that fires more than once in a tick counts once.
        validation: least share of the training recordings to hold out, person by person; 0: none.

    Returns:
        Events of shape (2, 128 / pool, 128 / pool) a tick: polarity, row, column.

    Raises:
        NeurofaError: a file that is damaged or cannot be had, or options that do not fit.
    """
    about: dict[str, str] = {}
    (train, persons), (test, _) = (
        _load(source, Camera("dvs_gesture", SIDE, pool=pool, ticks=ticks, tick=tick, binary=binary), about)
        for source in (TRAIN, TEST)
    )
    kept, held, who = held_groups("dvs_gesture", torch.tensor(persons), validation)
    return Sequences(
        name="dvs_gesture",
        train=train.chosen(kept),
        validation=train.chosen(held),
        test=test,
        classes=CLASSES,
        input_shape=train.input_shape,
        ticks=ticks,
        tick=tick,
        provenance={**about, "validation_persons": ", ".join(map(str, who))},
    )


def _load(source: Source, camera: Camera, provenance: dict[str, str]) -> tuple[EventSplit, list[int]]:
    folder = unpacked(FOLDER, source.archive)
    paths = sorted(folder.glob("*/*.npy"))
    if len(paths) != source.recordings:
        raise NeurofaError(
            f"got {len(paths)} recordings in {folder}; expected {source.recordings} .npy files in its folders;"
            " unpack the archive again"
        )
    persons = []
    seen = hashlib.sha256()
    for path in paths:
        person = re.match(r"user(\d+)", path.parent.name)
        if not path.stem.isdecimal() or int(path.stem) >= CLASSES or person is None:
            raise NeurofaError(
                f"got {path}; expected user<number>_<light>/<0 to {CLASSES - 1}>.npy; unpack the archive again"
            )
        persons.append(int(person[1]))
        blob = _files.read(path)
        seen.update(path.relative_to(folder).as_posix().encode() + blob)
        try:
            table = np.load(io.BytesIO(blob), allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise NeurofaError(f"got {path} ({error}); expected a whole .npy file; unpack the archive again") from None
        if table.ndim != 2 or table.shape[1] != 4:
            raise NeurofaError(f"got {path} of shape {table.shape}; expected (n, 4) rows x, y, p, t; fetch it again")
        x, y, p, millis = table.T
        camera.add(x, y, p, millis * 1e-3, int(path.stem), str(path))
    provenance[source.archive.member] = f"sha256:{seen.hexdigest()} of all names with their contents"
    return camera.made.split(), persons
