"""N-MNIST: handwritten digits in front of an event camera that looks at them with three saccades."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.data._archives import Archive, unpacked
from experiments.data._images import SPLIT_SEED, check_sizes
from experiments.data._pixels import Camera, read_words
from experiments.data._recordings import EventSplit
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

_ADDRESS = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published archive, and how many recordings are in it."""

    archive: Archive
    recordings: int


FOLDER = "NMNIST"
TRAIN = Source(
    archive=Archive(
        name="Train.zip",
        member="Train",
        md5="20959b8e626244a1b502305a9e6e2031",
        addresses=(f"{_ADDRESS}39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",),
    ),
    recordings=60000,
)
TEST = Source(
    archive=Archive(
        name="Test.zip",
        member="Test",
        md5="69ca8762b2fe404d9b9bad1103e97832",
        addresses=(f"{_ADDRESS}05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",),
    ),
    recordings=10000,
)


@recipe("data", "nmnist", source="Orchard, Jayawant, Cohen, Thakor 2015, Front. Neurosci. 9, 437")
def nmnist(
    *, ticks: int = 60, tick: float = 0.005, pool: int = 1, binary: bool = False, validation: int = 5000,
    subset: int | None = None,
) -> Sequences:  # fmt: skip
    """Events of 34 x 34 pixels and two polarities, about 0.3 s a digit: 60000 + 10000 recordings.

    Args:
        ticks: T; what comes later than ``ticks * tick`` is cut off.
        tick: length of a tick, s.
        pool: blocks of that many pixels squared become one; 1, 2, 17 or 34.
        binary: a pixel that fires more than once in a tick counts once.
        validation: training recordings to hold out.
        subset: training recordings to keep; ``None``: all.

    Returns:
        Events of shape (2, 34 / pool, 34 / pool) a tick: polarity, row, column.

    Raises:
        NeurofaError: a file that is damaged or cannot be had, or options that do not fit.
    """
    check_sizes("nmnist", TRAIN.recordings, validation, subset)
    about: dict[str, str] = {}
    train, test = (
        _load(source, Camera("nmnist", 34, pool=pool, ticks=ticks, tick=tick, binary=binary), about)
        for source in (TRAIN, TEST)
    )
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
    return Sequences(
        name="nmnist",
        train=train.chosen(order[validation:][:subset]),
        validation=train.chosen(order[:validation]),
        test=test,
        classes=10,
        input_shape=train.input_shape,
        ticks=ticks,
        tick=tick,
        provenance={**about, "split_seed": str(SPLIT_SEED)},
    )


def _load(source: Source, camera: Camera, provenance: dict[str, str]) -> EventSplit:
    folder = unpacked(FOLDER, source.archive)
    paths: list[tuple[int, Path]] = [(i, path) for i in range(10) for path in sorted((folder / str(i)).glob("*.bin"))]
    if len(paths) != source.recordings:
        raise NeurofaError(
            f"got {len(paths)} recordings in {folder}; expected {source.recordings} in the folders 0 to 9;"
            " unpack the archive again"
        )
    seen = hashlib.sha256()
    for label, path in paths:
        x, y, p, seconds = read_words(path)
        camera.add(x, y, p, seconds, label, str(path))
        seen.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    provenance[source.archive.member] = f"sha256:{seen.hexdigest()} of all names with their contents"
    return camera.made.split()
