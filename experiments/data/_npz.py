"""Data files of named arrays, known by their checksum."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.data import _files
from hwmodels.errors import NeurofaError


def read_npz(relative: str, sha256: str, wanted: Sequence[str], *, remedy: str) -> dict[str, Any]:
    """Read a file whole.

    Args:
        relative: its path in a data folder.
        sha256: of the official file.
        wanted: the arrays that must be in it.
        remedy: what to do where it is missing.

    Raises:
        NeurofaError: no such file, or a damaged or other one.
    """
    path = _files.find(relative)
    if path is None:
        raise NeurofaError(f"got no {relative} in the data folders; expected the file; {remedy}")
    blob = _files.read(path)
    got = _files.sha256(blob)
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as file:
            arrays = {key: file[key] for key in wanted}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise NeurofaError(f"got {path} ({reason}); expected a whole .npz of {', '.join(wanted)}; {remedy}") from None
    if got != sha256:
        raise NeurofaError(f"got sha256 {got} for {path}; expected {sha256}; {remedy}")
    return arrays
