"""Spoken digits of six speakers, through a model of the inner ear."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from experiments.data import _files, _fsdd
from experiments.data._recordings import Recordings
from experiments.data.cochlea import Cochlea, by_recording
from experiments.data.sequences import Sequences
from experiments.files import make_folder
from hwmodels.errors import NeurofaError
from hwmodels.files import write_atomic
from hwmodels.registry import recipe

TEST_TAKES = 5
"""The authors keep takes 0 to 4 of every digit and speaker for the test."""
_VERSION = 1
"""Of the cochlea's algorithm: older cached spikes are not used."""


@recipe("data", "spoken_digits", source="Jakobovski et al., free spoken digit data set, CC BY-SA 4.0")
def spoken_digits(
    *, ticks: int = 100, tick: float = 0.01, channels: int = 100, split: Literal["authors", "speakers"] = "authors",
    validation: int = 5, fold: int = 0, binary: bool = False,
) -> Sequences:  # fmt: skip
    """English digits 0 to 9, six speakers, 50 takes each: 3000 recordings of 8 kHz as spikes of hair cells.

    The 100 ticks of 10 ms cover all but 0.8 % of the recordings whole. Spikes are worked out once for every
    combination of channels and duration, and kept in the cache folder.

    Args:
        ticks: T; what comes later than ``ticks * tick`` is cut off.
        tick: length of a tick, s.
        channels: places along the basilar membrane, 2 to 700.
        split: ``authors``: takes 0 to 4 are the test, the next ``validation`` takes validate, the same speakers
            throughout; ``speakers``: one speaker is the test, another one validates, the others train.
        validation: takes that validate (``authors`` only).
        fold: which speakers (``speakers`` only), 0 to 5: number ``fold`` of the sorted names is the test, the next one
            validates.
        binary: a channel that fires more than once in a tick counts once.

    Returns:
        Events of shape (channels,) a tick.

    Raises:
        NeurofaError: recordings that are damaged or cannot be had, or options that do not fit.
    """
    if not 2 <= channels <= 700:
        raise NeurofaError(f"got spoken_digits(channels={channels}); expected 2 to 700; change channels")
    made = Recordings("spoken_digits", ticks=ticks, tick=tick, input_shape=(channels,), binary=binary)
    speech = _fsdd.load()
    cells = Cochlea(channels=channels, rate=_fsdd.RATE, seconds=ticks * tick)
    for i, (seconds, units) in enumerate(by_recording(*cached_spikes(cells, speech))):
        made.add(seconds, units, int(speech.digit[i]), f"spoken digit {i}")
    whole = made.split()
    train, held, test = _masks(speech, split, validation, fold)
    return Sequences(
        name="spoken_digits",
        train=whole.chosen(_index(train)),
        validation=whole.chosen(_index(held)),
        test=whole.chosen(_index(test)),
        classes=10,
        input_shape=(channels,),
        ticks=ticks,
        tick=tick,
        provenance={
            "recordings": f"sha256:{speech.content}",
            "official": "yes" if speech.content == _fsdd.CONTENT else "no: the recordings differ from the published",
            "cochlea": json.dumps(asdict(cells)),
            "test": split if split == "authors" else f"speaker {speech.names[fold]}",
        },
    )


def _masks(speech: _fsdd.Speech, split: str, validation: int, fold: int) -> tuple[Any, Any, Any]:
    if split == "authors":
        last = int(speech.take.max()) + 1
        if not 0 <= validation < last - TEST_TAKES:
            raise NeurofaError(
                f"got spoken_digits(validation={validation}); expected 0 to {last - TEST_TAKES - 1} of the takes;"
                " change validation"
            )
        test = speech.take < TEST_TAKES
        held = ~test & (speech.take < TEST_TAKES + validation)
    else:
        speakers = len(speech.names)
        if not 0 <= fold < speakers or speakers < 3:
            raise NeurofaError(f"got spoken_digits(fold={fold}); expected 0 to {speakers - 1}; change fold")
        test = speech.speaker == fold
        held = speech.speaker == (fold + 1) % speakers
    return ~test & ~held, held, test


def _index(mask: Any) -> torch.Tensor:
    return torch.from_numpy(mask.nonzero()[0])


def cached_spikes(cells: Cochlea, speech: _fsdd.Speech) -> tuple[Any, Any, Any]:
    """What :meth:`Cochlea.spikes` gives, from the cache folder where it was worked out before.

    Raises:
        NeurofaError: a damaged file in the cache, or a cache folder that cannot be written.
    """
    about = json.dumps([_VERSION, asdict(cells), speech.content], sort_keys=True)
    path = _files.cache_folder() / "spoken_digits" / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        return _kept(path)
    spikes = cells.spikes(speech.waves)
    make_folder(path.parent)
    file = io.BytesIO()
    np.savez_compressed(file, times=spikes[0], units=spikes[1], offsets=spikes[2])
    write_atomic(path, file.getvalue())
    return spikes


def _kept(path: Path) -> tuple[Any, Any, Any]:
    try:
        with np.load(io.BytesIO(_files.read(path)), allow_pickle=False) as file:
            return file["times"], file["units"], file["offsets"]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise NeurofaError(f"got {path} ({error}); expected cached spikes; delete it to work them out again") from None
