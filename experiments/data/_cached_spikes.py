"""Spikes of the cochlea's hair cells, computed once and kept in the cache folder."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import _files
from experiments.data._npz import NPZ_ERRORS, load_arrays
from experiments.data.cochlea import Cochlea
from experiments.files import make_folder
from hwmodels.errors import NeurofaError
from hwmodels.files import write_atomic

_VERSION = 1
"""Version of the cochlea's algorithm: cached spikes of older versions are not used."""


def cached_spikes(folder: str, cochlea: Cochlea, waves: Sequence[Any], content: str) -> tuple[Any, Any, Any]:
    """Return the spikes of :meth:`Cochlea.spikes`, from the cache folder where they were computed before.

    Args:
        folder: of the data set, in the cache folder.
        cochlea: the model.
        waves: (n,) samples of every recording.
        content: checksum of the recordings.

    Raises:
        NeurofaError: a damaged file in the cache, or a cache folder that cannot be written.
    """
    about = json.dumps([_VERSION, asdict(cochlea), content], sort_keys=True)
    path = _files.cache_folder() / folder / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        return _read_cache(path)
    spikes = cochlea.spikes(waves)
    make_folder(path.parent)
    file = io.BytesIO()
    np.savez_compressed(file, times=spikes[0], units=spikes[1], offsets=spikes[2])
    write_atomic(path, file.getvalue())
    return spikes


def _read_cache(path: Path) -> tuple[Any, Any, Any]:
    blob = _files.read_file(path)
    try:
        arrays = load_arrays(blob, ("times", "units", "offsets"))
    except NPZ_ERRORS as error:
        raise NeurofaError(f"got {path} ({error}); expected cached spikes; delete it to compute them again") from None
    return arrays["times"], arrays["units"], arrays["offsets"]
