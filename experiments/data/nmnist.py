"""N-MNIST: handwritten digits in front of an event camera that moves in three saccades."""

from __future__ import annotations

from functools import partial

from experiments.data import _files
from experiments.data._archives import Archive, unpacked
from experiments.data._event_camera import CameraArchive, CameraRecordings, read_words
from experiments.data._images import SPLIT_SEED, seeded_split
from experiments.data._recordings import EventSplit
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

_ADDRESS = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
FOLDER = "NMNIST"


def _published(name: str, md5: str, file: str, recordings: int) -> CameraArchive:
    addresses = (f"{_ADDRESS}{file}/file_downloaded",)
    archive = Archive(name=f"{name}.zip", member=name, md5=md5, addresses=addresses)
    return CameraArchive(archive=archive, recordings=recordings)


TRAIN = _published("Train", "20959b8e626244a1b502305a9e6e2031", "39c25547-014b-4137-a934-9d29fa53c7a0", 60000)
TEST = _published("Test", "69ca8762b2fe404d9b9bad1103e97832", "05a4d654-7e03-4c15-bdfa-9bb2bcbea494", 10000)


@recipe("data", "nmnist", source="Orchard, Jayawant, Cohen, Thakor 2015, Front. Neurosci. 9, 437")
def nmnist(
    *,
    ticks: int = 60,
    tick: float = 0.005,
    pool: int = 1,
    binary: bool = False,
    validation: int = 5000,
    subset: int | None = None,
) -> Sequences:
    """Events of 34 x 34 pixels and two polarities, about 0.3 s a digit: 60000 + 10000 recordings.

    Args:
        ticks: T; events after ``ticks * tick`` are cut off.
        tick: length of a tick, s.
        pool: side of the square blocks of pixels that become one; 1, 2, 17 or 34.
        binary: whether a pixel that fires more than once in a tick counts once.
        validation: training recordings to hold out.
        subset: training recordings to keep; None: all.

    Returns:
        Events of shape (2, 34 / pool, 34 / pool) a tick: polarity, row, column.

    Raises:
        NeurofaError: a file that is damaged or cannot be downloaded, or options that do not fit.
    """
    kept, held = seeded_split("nmnist", TRAIN.recordings, validation, subset)
    provenance: dict[str, str] = {}
    camera = partial(CameraRecordings, "nmnist", 34, ticks=ticks, tick=tick, pool=pool, binary=binary)
    train, test = (_load(source, camera(), provenance) for source in (TRAIN, TEST))
    splits = {"train": train.chosen(kept), "validation": train.chosen(held), "test": test}
    provenance["split_seed"] = str(SPLIT_SEED)
    return Sequences.of("nmnist", splits, classes=10, tick=tick, provenance=provenance)


def _load(source: CameraArchive, camera: CameraRecordings, provenance: dict[str, str]) -> EventSplit:
    folder = unpacked(FOLDER, source.archive)
    files = [(label, path) for label in range(10) for path in _files.files_in(folder / str(label), "*.bin")]
    if len(files) != source.recordings:
        raise NeurofaError(
            f"got {len(files)} recordings in {folder}; expected {source.recordings} in the folders 0 to 9;"
            " unpack the archive again"
        )
    provenance[source.archive.member] = camera.add_files(folder, files, read_words)
    events = camera.recordings.split()
    provenance[f"{source.archive.member}, kept"] = camera.recordings.kept
    return events
