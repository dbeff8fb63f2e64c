"""Spiking Speech Commands: 35 spoken words, through a model of the inner ear."""

from __future__ import annotations

from experiments.data._spike_hdf5 import HeidelbergReader, heidelberg_archive
from experiments.data.sequences import Sequences
from hwmodels.registry import recipe

FOLDER = "SSC"
FILES = {
    "train": heidelberg_archive("ssc_train.h5", "d102be95e7144fcc0553d1f45ba94170"),
    "validation": heidelberg_archive("ssc_valid.h5", "b4eee3516a4a90dd0c71a6ac23a8ae43"),
    "test": heidelberg_archive("ssc_test.h5", "a35ff1e9cffdd02a20eb850c17c37748"),
}
CLASSES = 35


@recipe("data", "ssc", source="Cramer, Stradmann, Schemmel, Zenke 2020, arXiv 1910.07407")
def ssc(*, ticks: int = 100, tick: float = 0.01, channels: int = 700, binary: bool = False) -> Sequences:
    """Spoken words as spikes of 700 channels, 35 classes, in the published splits.

    Args:
        ticks: T; events after ``ticks * tick`` are cut off.
        tick: length of a tick, s.
        channels: number of channels to which neighbours are pooled; a divisor of 700.
        binary: whether a channel that fires more than once in a tick counts once.

    Returns:
        Events of shape (channels,) a tick.

    Raises:
        NeurofaError: a file that is damaged or cannot be downloaded, no h5py, or options that do not fit.
    """
    reader = HeidelbergReader(
        name="ssc", folder=FOLDER, classes=CLASSES, channels=channels, ticks=ticks, tick=tick, binary=binary
    )
    provenance: dict[str, str] = {}
    splits = {where: reader.read(archive, provenance)[0] for where, archive in FILES.items()}
    return Sequences.of("ssc", splits, classes=CLASSES, tick=tick, provenance=provenance)
