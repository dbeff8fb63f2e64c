"""The free spoken digit data set: 3000 recordings, as one file of arrays or as the published wave files."""

from __future__ import annotations

import hashlib
import re
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import _files
from experiments.data._archives import Archive, unpacked
from experiments.data._npz import read_npz
from hwmodels.errors import NeurofaError

FILE = "fsdd/fsdd_8khz_int16.npz"
SHA256 = "281ea9a00c9422b4dae427350e50e1eb385d3df5e1da106e23d390734cb18213"
CONTENT = "796273d2ee66642756d738c83f2061844e97e80ac5cd97605d0173ed9690d669"
"""SHA-256 of the names and samples of all recordings of the published state, in order of their names."""
RECORDINGS, RATE = 3000, 8000
_COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
FOLDER = "free-spoken-digit-dataset"
WAVES = Archive(
    name=f"{_COMMIT}.tar.gz",
    member=f"{FOLDER}-{_COMMIT}",
    md5=None,  # archives that GitHub makes have no fixed bytes: their contents are checked
    addresses=(f"https://github.com/Jakobovski/{FOLDER}/archive/{_COMMIT}.tar.gz",),
)


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Recordings, sorted by digit, speaker and take."""

    waves: list[Any]
    """(n,) int16 samples of each, 8000 a second."""
    digit: Any
    """(N,) the digit that is spoken, 0 to 9."""
    speaker: Any
    """(N,) index of the speaker into ``names``."""
    take: Any
    """(N,) number of the recording of this digit by this speaker."""
    names: list[str]
    """Names of the speakers."""
    content: str
    """SHA-256 of names and samples."""


def load_speech() -> Speech:
    """Return all recordings, read from the file of arrays if there is one, else from the published wave files.

    Wave files that are in no data folder are downloaded.

    Raises:
        NeurofaError: a file that is damaged or cannot be downloaded.
    """
    if _files.find_file(FILE) is not None:
        return read_arrays()
    for base in _files.data_folders():
        if (base / FOLDER / "recordings").is_dir():
            return read_waves(base / FOLDER / "recordings")
    return read_waves(unpacked(FOLDER, WAVES) / "recordings")


def read_arrays() -> Speech:
    """Read all recordings from the file of arrays.

    Raises:
        NeurofaError: a damaged file, or another one.
    """
    names = ("audio", "offsets", "digit", "speaker", "take", "speaker_names")
    remedy = f"fetch it again, or remove it to use the wave files of github.com/Jakobovski/{FOLDER}"
    table = read_npz(FILE, SHA256, names, remedy=remedy)
    begins, speakers = table["offsets"], [str(name) for name in table["speaker_names"]]
    labels = zip(table["digit"], table["speaker"], table["take"], strict=True)
    waves = {}
    for i, (digit, speaker, take) in enumerate(labels):
        waves[int(digit), speakers[speaker], int(take)] = table["audio"][begins[i] : begins[i + 1]]
    return _speech(waves)


def read_waves(folder: Path) -> Speech:
    """Read the published files ``<digit>_<speaker>_<take>.wav``: 8000 samples of 16 bits a second, one channel.

    Raises:
        NeurofaError: a damaged file or another one, or another number of files.
    """
    waves = {}
    for path in _files.files_in(folder, "*.wav"):
        parts = re.fullmatch(r"(\d)_([a-z]+)_(\d+)", path.stem)
        if parts is None:
            raise NeurofaError(f"got {path}; expected <digit>_<speaker>_<take>.wav; remove it")
        waves[int(parts[1]), parts[2], int(parts[3])] = _wave(path)
    if len(waves) != RECORDINGS:
        raise NeurofaError(
            f"got {len(waves)} recordings in {folder}; expected {RECORDINGS}; fetch github.com/Jakobovski/{FOLDER}"
        )
    return _speech(waves)


def _wave(path: Path) -> Any:
    """Return the (n,) int16 samples of one file."""
    try:
        with wave.open(str(path), "rb") as file:
            kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            wanted, blob = file.getnframes(), file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise NeurofaError(f"got {path} ({error}); expected a whole wave file; fetch it again") from None
    if kind != (1, 2, RATE) or len(blob) != 2 * wanted or not wanted:
        raise NeurofaError(
            f"got {path} of {kind[0]} channels, {8 * kind[1]} bits, {kind[2]} Hz and {len(blob)} bytes; expected 1, 16,"
            f" {RATE} and {2 * wanted}, not 0; fetch it again"
        )
    return np.frombuffer(blob, "<i2").astype(np.int16)


def _speech(waves: dict[tuple[int, str, int], Any]) -> Speech:
    """Return the recordings from samples by digit, speaker and take."""
    keys = sorted(waves)
    names = sorted({name for _, name, _ in keys})
    content = hashlib.sha256()
    for key in keys:
        content.update("_".join(map(str, key)).encode() + waves[key].astype("<i2").tobytes())
    return Speech(
        waves=[waves[key] for key in keys],
        digit=np.array([digit for digit, _, _ in keys]),
        speaker=np.array([names.index(name) for _, name, _ in keys]),
        take=np.array([take for _, _, take in keys]),
        names=names,
        content=content.hexdigest(),
    )
