"""The first recordings of N-MNIST, in one file."""

from __future__ import annotations

import numpy as np
import torch

from experiments.data._event_camera import CameraRecordings
from experiments.data._images import SPLIT_SEED, seeded_split
from experiments.data._npz import read_npz
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

FILE = "nmnist_small/nmnist_small.npz"
SHA256 = "f103b6c62c74e2fec19e49fc025b340212920dfbe4e5f9d376c3c9fe55e3ab85"
TRAIN = 1000
_ARRAYS = ("x", "y", "p_packed", "dt_us", "offsets", "label", "is_test")


@recipe("data", "nmnist_small", source="Orchard et al. 2015; the 1100 recordings of bamsumit/slayerPytorch")
def nmnist_small(
    *,
    ticks: int = 60,
    tick: float = 0.005,
    pool: int = 1,
    binary: bool = False,
    validation: int = 100,
    subset: int | None = None,
) -> Sequences:
    """The first 1000 + 100 recordings of N-MNIST: enough to try a network, too few for an accuracy to report.

    Args:
        ticks: T; events after ``ticks * tick`` are cut off (recordings last about 0.306 s).
        tick: length of a tick, s.
        pool: side of the square blocks of pixels that become one; 1, 2, 17 or 34.
        binary: whether a pixel that fires more than once in a tick counts once.
        validation: training recordings to hold out.
        subset: training recordings to keep; None: all.

    Returns:
        Events of shape (2, 34 / pool, 34 / pool) a tick: polarity, row, column.

    Raises:
        NeurofaError: the file is missing or damaged, or options do not fit.
    """
    kept, held = seeded_split("nmnist_small", TRAIN, validation, subset)
    camera = CameraRecordings("nmnist_small", 34, pool=pool, ticks=ticks, tick=tick, binary=binary)
    arrays = read_npz(FILE, SHA256, _ARRAYS, remedy=f"put it under a folder that NEUROFA_DATA names, as {FILE}")
    offsets = arrays["offsets"]
    p = np.unpackbits(arrays["p_packed"], count=len(arrays["x"]))
    for i, label in enumerate(arrays["label"]):
        part = slice(offsets[i], offsets[i + 1])
        seconds = np.cumsum(arrays["dt_us"][part], dtype=np.int64) * 1e-6
        events = arrays["x"][part], arrays["y"][part], p[part], seconds
        camera.add(events, int(label), f"{FILE}, recording {i}")
    recordings = camera.recordings.split()
    is_test = torch.from_numpy(arrays["is_test"])
    train, test = (mask.nonzero().flatten() for mask in (~is_test, is_test))
    if len(train) != TRAIN:
        raise NeurofaError(f"got {len(train)} training recordings in {FILE}; expected {TRAIN}; fetch the file again")
    index = {"train": train[kept], "validation": train[held], "test": test}
    splits = {where: recordings.chosen(places) for where, places in index.items()}
    provenance = {FILE: f"sha256:{SHA256}", "kept": camera.recordings.kept, "split_seed": str(SPLIT_SEED)}
    return Sequences.of("nmnist_small", splits, classes=10, tick=tick, provenance=provenance)
