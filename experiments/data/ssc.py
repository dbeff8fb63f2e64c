"""Spiking Speech Commands: 35 spoken words, through a model of the inner ear."""

from __future__ import annotations

from experiments.data._spike_hdf5 import archive, load
from experiments.data.sequences import Sequences
from hwmodels.registry import recipe

FOLDER = "SSC"
FILES = {
    "train": archive("ssc_train.h5", "d102be95e7144fcc0553d1f45ba94170"),
    "validation": archive("ssc_valid.h5", "b4eee3516a4a90dd0c71a6ac23a8ae43"),
    "test": archive("ssc_test.h5", "a35ff1e9cffdd02a20eb850c17c37748"),
}
CLASSES = 35


@recipe("data", "ssc", source="Cramer, Stradmann, Schemmel, Zenke 2020, arXiv 1910.07407")
def ssc(*, ticks: int = 100, tick: float = 0.01, channels: int = 700, binary: bool = False) -> Sequences:
    """Spoken words as spikes of 700 channels, 35 classes, in the published splits.

    Args:
        ticks: T; what comes later than ``ticks * tick`` is cut off.
        tick: length of a tick, s.
        channels: neighbouring channels are pooled to that many; a divisor of 700.
        binary: a channel that fires more than once in a tick counts once.

    Returns:
        Events of shape (channels,) a tick.

    Raises:
        NeurofaError: a file that is damaged or cannot be had, no h5py, or options that do not fit.
    """
    about: dict[str, str] = {}
    parts = {
        where: load(
            "ssc", FOLDER, source, about, classes=CLASSES, channels=channels, ticks=ticks, tick=tick, binary=binary
        )[0]
        for where, source in FILES.items()
    }
    return Sequences(
        name="ssc",
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        classes=CLASSES,
        input_shape=(channels,),
        ticks=ticks,
        tick=tick,
        provenance=about,
    )
