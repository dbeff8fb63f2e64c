"""Data files of named arrays, identified by their checksum."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.data import _files
from hwmodels.errors import NeurofaError

NPZ_ERRORS = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile)
"""Exceptions that a damaged file or another file raises."""


def read_npz(relative: str, sha256: str, names: Sequence[str], *, remedy: str) -> dict[str, Any]:
    """Return the arrays of a file.

    Args:
        relative: path of the file in a data folder.
        sha256: checksum of the official file.
        names: names of the arrays that must be in the file.
        remedy: advice where the file is missing or damaged.

    Raises:
        NeurofaError: no such file, or a damaged or other one.
    """
    path = _files.find_file(relative)
    if path is None:
        raise NeurofaError(f"got no {relative} in the data folders; expected the file; {remedy}")
    blob = _files.read_file(path)
    got = _files.sha256(blob)
    try:
        arrays = load_arrays(blob, names)
    except NPZ_ERRORS as error:
        reason = " ".join(str(error).split())
        raise NeurofaError(f"got {path} ({reason}); expected a whole .npz of {', '.join(names)}; {remedy}") from None
    if got != sha256:
        raise NeurofaError(f"got sha256 {got} for {path}; expected {sha256}; {remedy}")
    return arrays


def load_arrays(blob: bytes, names: Sequence[str]) -> dict[str, Any]:
    """Return named arrays of an .npz file; nothing in it is unpickled."""
    with np.load(io.BytesIO(blob), allow_pickle=False) as file:
        return {name: file[name] for name in names}
