"""Spiking Heidelberg Digits: spoken digits in German and English, through a model of the inner ear."""

from __future__ import annotations

from experiments.data._held_out import held_groups
from experiments.data._spike_hdf5 import HeidelbergReader, heidelberg_archive
from experiments.data.sequences import Sequences
from hwmodels.registry import recipe

FOLDER = "SHD"
TRAIN = heidelberg_archive("shd_train.h5", "f3252aeb598ac776c1b526422d90eecb")
TEST = heidelberg_archive("shd_test.h5", "1503a5064faa34311c398fb0a1ed0a6f")
CLASSES = 20


@recipe("data", "shd", source="Cramer, Stradmann, Schemmel, Zenke 2020, arXiv 1910.07407")
def shd(
    *, ticks: int = 100, tick: float = 0.01, channels: int = 700, binary: bool = False, validation: float = 0.1
) -> Sequences:
    """Spoken digits 0 to 9 in English and German as spikes of 700 channels: 8156 + 2264 recordings, 20 classes.

    Validation holds out whole speakers, because two of the test's speakers are not in training at all: the accuracy on
    samples held out at random would be too high.

    Args:
        ticks: T; events after ``ticks * tick`` are cut off (the longest recordings last past 1 s).
        tick: length of a tick, s.
        channels: number of channels to which neighbours are pooled; a divisor of 700.
        binary: whether a channel that fires more than once in a tick counts once.
        validation: least share of the training recordings to hold out, speaker by speaker; 0: none.

    Returns:
        Events of shape (channels,) a tick.

    Raises:
        NeurofaError: a file that is damaged or cannot be downloaded, no h5py, or options that do not fit.
    """
    reader = HeidelbergReader(
        name="shd", folder=FOLDER, classes=CLASSES, channels=channels, ticks=ticks, tick=tick, binary=binary
    )
    provenance: dict[str, str] = {}
    train, speakers = reader.read(TRAIN, provenance, speakers=True)
    test, _ = reader.read(TEST, provenance)
    kept, held, who = held_groups("shd", speakers, validation)
    splits = {"train": train.chosen(kept), "validation": train.chosen(held), "test": test}
    provenance["validation_speakers"] = ", ".join(map(str, who))
    return Sequences.of("shd", splits, classes=CLASSES, tick=tick, provenance=provenance)
