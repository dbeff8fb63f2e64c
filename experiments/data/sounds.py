"""Sounds of one's own in folders, one folder a class, through the model of the inner ear."""

from __future__ import annotations

import math
import warnings
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.data._cached_spikes import cached_spikes
from experiments.data._own_data import require_trained, shares
from experiments.data._own_files import class_folders, digest_of, own_path, reading
from experiments.data._recordings import Recordings
from experiments.data.cochlea import Cochlea, by_recording
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

RATE = 8000
"""Samples in a second after resampling."""


@recipe("data", "sounds", source="files of the user's own")
def sounds(
    *,
    path: str,
    ticks: int = 100,
    tick: float = 0.01,
    channels: int = 100,
    binary: bool = False,
    validation: float = 0.1,
    test: float = 0.1,
) -> Sequences:
    """Wave files in one folder a class, ``yes/1.wav``, as spikes of hair cells; or such folders in ``train``, ``test``.

    Sounds are resampled to 8 kHz. Spikes are computed once for every combination of files, channels and duration, and
    kept in the cache folder.

    Args:
        path: the folder.
        ticks: T; sound after ``ticks * tick`` is cut off, which is said.
        tick: length of a tick, s.
        channels: places along the basilar membrane, 2 to 700.
        binary: whether a channel that fires more than once in a tick counts once.
        validation: share of the sounds for validation, where there is no such folder, every class in its share.
        test: share of the sounds for the test, where there is no such folder.

    Returns:
        Events of shape (channels,) a tick.

    Raises:
        NeurofaError: no such folder, an empty class folder, a damaged or silent file, several channels, or fewer than
            8000 samples in a second.
    """
    if not 2 <= channels <= 700:
        raise NeurofaError(f"got sounds(channels={channels}); expected 2 to 700; change channels")
    recordings = Recordings("sounds", ticks=ticks, tick=tick, input_shape=(channels,), binary=binary)
    root = own_path("sounds", path, folder=True)
    files, classes = class_folders("sounds", root, (".wav",))
    flat = [(label, file) for each in files.values() for label, file in each]
    waves = [_samples(file) for _, file in flat]
    _say_cut(waves, ticks * tick)
    cochlea = Cochlea(channels=channels, rate=RATE, seconds=ticks * tick)
    digest = digest_of([file for _, file in flat], root)
    spikes = cached_spikes("sounds", cochlea, waves, digest)
    for (label, file), (seconds, units) in zip(flat, by_recording(*spikes), strict=True):
        recordings.add(seconds, units, label, str(file))
    whole = recordings.split()
    labels = np.array([label for label, _ in flat])
    index = _indices({where: len(each) for where, each in files.items()})
    trained = index.pop("all") if "all" in index else index["train"]
    cut = shares("sounds", labels[trained], index, validation=validation, test=test)
    index |= {where: trained[part] for where, part in cut.items()}
    require_trained("sounds", labels[index["train"]], len(classes))
    splits = {where: whole.chosen(torch.from_numpy(part)) for where, part in index.items()}
    provenance = {root.name: digest, "classes": ", ".join(classes), "kept": recordings.kept}
    return Sequences.of("sounds", splits, classes=len(classes), tick=tick, provenance=provenance)


def _indices(lengths: dict[str, int]) -> dict[str, Any]:
    """Return the numbers of the samples of consecutive parts."""
    ends = np.cumsum(list(lengths.values()))
    return {where: np.arange(end - lengths[where], end) for where, end in zip(lengths, ends, strict=True)}


def _samples(path: Path) -> Any:
    """Return the samples of one file, 8000 a second."""
    with reading(path, "a whole wave file of whole numbers (PCM)"), wave.open(str(path), "rb") as file:
        lanes, width, rate, count = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
        blob = file.readframes(count)
    if width not in (1, 2, 3, 4):
        raise NeurofaError(f"got '{path}' of {8 * width} bits a sample; expected 8, 16, 24 or 32; convert it")
    if lanes != 1 or rate < RATE or len(blob) != width * count or not count:
        raise NeurofaError(
            f"got '{path}' of {lanes} channels, {rate} samples in a second and {len(blob)} bytes; expected 1 channel,"
            f" {RATE} or more, and {width * lanes * count} bytes, not 0; mix, resample or record it anew"
        )
    values = _numbers(blob, width)
    if not np.ptp(values):
        raise NeurofaError(f"got '{path}', which is silent; expected sound; leave it out")
    if rate == RATE:
        return values
    from scipy.signal import resample_poly

    shared = math.gcd(rate, RATE)
    return resample_poly(values, RATE // shared, rate // shared)


def _numbers(blob: bytes, width: int) -> Any:
    """Return samples of 8, 16, 24 or 32 bits as numbers around 0."""
    if width == 1:  # the only width without a sign
        return np.frombuffer(blob, np.uint8).astype(np.float64) - 128
    if width == 3:
        low = np.frombuffer(blob, np.uint8).reshape(-1, 3).astype(np.int32)
        whole = low[:, 0] | low[:, 1] << 8 | low[:, 2] << 16
        return np.where(whole >= 2**23, whole - 2**24, whole).astype(np.float64)
    return np.frombuffer(blob, f"<i{width}").astype(np.float64)


def _say_cut(waves: list[Any], seconds: float) -> None:
    lengths = np.array([len(each) / RATE for each in waves])
    outside = np.maximum(lengths - seconds, 0)
    if outside.any():
        warnings.warn(
            f"sounds cuts {outside.sum():.3g} of {lengths.sum():.3g} s off, at the end of {np.count_nonzero(outside)}"
            f" of {len(waves)} files: raise ticks or tick to keep all ({lengths.max():.3g} s)",
            stacklevel=3,
        )
