"""Spoken digits of six speakers, through a model of the inner ear."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Literal

import torch

from experiments.data import _fsdd
from experiments.data._cached_spikes import cached_spikes
from experiments.data._recordings import Recordings
from experiments.data.cochlea import Cochlea, by_recording
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

TEST_TAKES = 5
"""The authors keep takes 0 to 4 of every digit and speaker for the test."""


@recipe("data", "spoken_digits", source="Jakobovski et al., free spoken digit data set, CC BY-SA 4.0")
def spoken_digits(
    *,
    ticks: int = 100,
    tick: float = 0.01,
    channels: int = 100,
    split: Literal["authors", "speakers"] = "authors",
    validation: int = 5,
    fold: int = 0,
    binary: bool = False,
) -> Sequences:
    """English digits 0 to 9, six speakers, 50 takes each: 3000 recordings of 8 kHz as spikes of hair cells.

    The 100 ticks of 10 ms cover all but 0.8 % of the recordings whole. Spikes are computed once for every
    combination of channels and duration, and kept in the cache folder.

    Args:
        ticks: T; events after ``ticks * tick`` are cut off.
        tick: length of a tick, s.
        channels: places along the basilar membrane, 2 to 700.
        split: ``authors``: takes 0 to 4 are the test, the next ``validation`` takes validate, the same speakers
            throughout; ``speakers``: one speaker is the test, another one validates, the others train.
        validation: number of takes that validate (``authors`` only).
        fold: number of the test speaker among the sorted names (``speakers`` only), 0 to 5; the next one validates.
        binary: whether a channel that fires more than once in a tick counts once.

    Returns:
        Events of shape (channels,) a tick.

    Raises:
        NeurofaError: recordings that are damaged or cannot be downloaded, or options that do not fit.
    """
    if not 2 <= channels <= 700:
        raise NeurofaError(f"got spoken_digits(channels={channels}); expected 2 to 700; change channels")
    recordings = Recordings("spoken_digits", ticks=ticks, tick=tick, input_shape=(channels,), binary=binary)
    speech = _fsdd.load_speech()
    cochlea = Cochlea(channels=channels, rate=_fsdd.RATE, seconds=ticks * tick)
    spikes = cached_spikes("spoken_digits", cochlea, speech.waves, speech.content)
    for i, (seconds, units) in enumerate(by_recording(*spikes)):
        recordings.add(seconds, units, int(speech.digit[i]), f"spoken digit {i}")
    events = recordings.split()
    masks = zip(("train", "validation", "test"), _masks(speech, split, validation, fold), strict=True)
    splits = {where: events.chosen(torch.from_numpy(mask.nonzero()[0])) for where, mask in masks}
    provenance = {
        "recordings": f"sha256:{speech.content}",
        "official": "yes" if speech.content == _fsdd.CONTENT else "no: the recordings differ from the published",
        "cochlea": json.dumps(asdict(cochlea)),
        "test": split if split == "authors" else f"speaker {speech.names[fold]}",
    }
    return Sequences.of("spoken_digits", splits, classes=10, tick=tick, provenance=provenance)


def _masks(speech: _fsdd.Speech, split: str, validation: int, fold: int) -> tuple[Any, Any, Any]:
    """Return which recordings train, validate and test."""
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
