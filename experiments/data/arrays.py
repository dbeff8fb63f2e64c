"""Arrays of one's own in a file: .npz, HDF5, or a folder of .npy files."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from experiments.data._own_data import own_dataset
from experiments.data._own_files import SPLITS, NamedArrays
from experiments.data.base import Dataset
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe


@recipe("data", "arrays", source="a file of the user's own")
def arrays(
    *,
    path: str,
    x: str = "x",
    y: str = "y",
    channels: Literal["", "first", "last"] = "",
    regression: bool = False,
    standardise: bool = True,
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset:
    """Inputs and targets from an .npz or .h5 file, or from a folder of .npy files.

    The arrays are ``x`` and ``y``, or ``x_train`` and ``y_train`` with ``x_val`` and ``x_test`` where there are such;
    splits that are missing are cut from the training samples by a fixed seed, every class in its share.

    Args:
        path: the file or folder.
        x: name of the inputs, (N, ...); images (N, C, H, W).
        y: name of the targets: (N,) whole numbers 0 to k - 1, or numbers (N,) or (N, o).
        channels: which axis of images holds the colours; ``last``: (N, H, W, C), which is turned around.
        regression: whether targets are numbers to predict rather than labels.
        standardise: whether inputs are scaled to mean 0 and deviation 1 of the training samples, for each channel of
            images and for each column of vectors.
        validation: share of the samples for validation, where the file has none.
        test: share of the samples for the test, where the file has none.

    Raises:
        NeurofaError: a missing or damaged file, a missing array, values that are not finite, or labels that are not
            0 to k - 1.
    """
    file = NamedArrays("arrays", path)
    parts = {}
    for where, aliases in SPLITS.items():
        found = [alias for alias in aliases if f"{x}_{alias}" in file.names]
        if len(found) > 1:
            raise NeurofaError(
                f"got {', '.join(f'{x}_{alias}' for alias in found)} in '{file.path}'; expected one of them; rename one"
            )
        if found:
            parts[where] = (file.read(f"{x}_{found[0]}"), file.read(f"{y}_{found[0]}"))
    if not parts and x not in file.names:
        raise NeurofaError(
            f"got '{file.path}' with {', '.join(file.names[:12]) or 'no arrays'}; expected {x} and {y}, or {x}_train"
            f" and {y}_train; name them, as in arrays(path=..., x=images, y=labels)"
        )
    if not parts:
        parts["all"] = (file.read(x), file.read(y))
    elif "train" not in parts:
        raise NeurofaError(f"got '{file.path}' without {x}_train; expected it beside {x}_test; add it")
    return own_dataset(
        "arrays",
        {where: (_channels_first(inputs, channels), targets) for where, (inputs, targets) in parts.items()},
        regression=regression,
        standardise=standardise,
        validation=validation,
        test=test,
        provenance={file.path.name: file.digest},
    )


def _channels_first(x: Any, channels: str) -> Any:
    """Return images (N, C, H, W); an array that could be meant either way is refused."""
    x = np.asarray(x)
    if x.ndim != 4 or channels == "first":
        return x
    if channels == "last":
        return np.moveaxis(x, 3, 1)
    if x.shape[3] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        raise NeurofaError(
            f"got images of shape {x.shape}, which look like channels last; expected (N, C, H, W); say channels=last to"
            " have them turned around, or channels=first"
        )
    return x
