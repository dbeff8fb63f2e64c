"""Spiking Heidelberg Digits: spoken digits in German and English, through a model of the inner ear."""

from __future__ import annotations

from experiments.data._held_out import held_groups
from experiments.data._spike_hdf5 import archive, load
from experiments.data.sequences import Sequences
from hwmodels.registry import recipe

FOLDER = "SHD"
TRAIN = archive("shd_train.h5", "f3252aeb598ac776c1b526422d90eecb")
TEST = archive("shd_test.h5", "1503a5064faa34311c398fb0a1ed0a6f")
CLASSES = 20


@recipe("data", "shd", source="Cramer, Stradmann, Schemmel, Zenke 2020, arXiv 1910.07407")
def shd(
    *, ticks: int = 100, tick: float = 0.01, channels: int = 700, binary: bool = False, validation: float = 0.1
) -> Sequences:
    """Spoken digits 0 to 9 in English and German as spikes of 700 channels: 8156 + 2264 recordings, 20 classes.

    Validation holds out whole speakers, because two of the test's speakers are not in training at all: samples held
    out at random would promise too much.

    Args:
        ticks: T; what comes later than ``ticks * tick`` is cut off (the longest recordings last past 1 s).
        tick: length of a tick, s.
        channels: neighbouring channels are pooled to that many; a divisor of 700.
        binary: a channel that fires more than once in a tick counts once.
        validation: least share of the training recordings to hold out, speaker by speaker; 0: none.

    Returns:
        Events of shape (channels,) a tick.

    Raises:
        NeurofaError: a file that is damaged or cannot be had, no h5py, or options that do not fit.
    """
    about: dict[str, str] = {}
    options = {"classes": CLASSES, "channels": channels, "ticks": ticks, "tick": tick, "binary": binary}
    train, speakers = load("shd", FOLDER, TRAIN, about, speakers=True, **options)  # type: ignore[arg-type]
    test, _ = load("shd", FOLDER, TEST, about, **options)  # type: ignore[arg-type]
    kept, held, who = held_groups("shd", speakers, validation)
    return Sequences(
        name="shd",
        train=train.chosen(kept),
        validation=train.chosen(held),
        test=test,
        classes=CLASSES,
        input_shape=train.input_shape,
        ticks=ticks,
        tick=tick,
        provenance={**about, "validation_speakers": ", ".join(map(str, who))},
    )
