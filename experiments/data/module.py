"""A data set that a user's code file makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.data._own_data import own_dataset
from experiments.data.base import Dataset
from experiments.data.sequences import Sequences
from hwmodels.errors import NeurofaError
from hwmodels.files import file_digest
from hwmodels.registry import recipe
from hwmodels.registry.code import load_code

SPLITS = ("train", "validation", "test")


@recipe("data", "module", source="a file of the user's own")
def module(
    *,
    path: str,
    name: str = "make_data",
    regression: bool = False,
    standardise: bool = False,
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset | Sequences:
    """The data that a function of a code file returns, which is called without arguments.

    It returns inputs and targets ``(x, y)``, or a dict of such pairs by split (``train``, ``validation``, ``test``), or
    a :class:`~experiments.data.Dataset`. In the place of a pair there may be a torch data set of (x, y) samples.

    Args:
        path: the code file.
        name: of the function.
        regression: whether targets are numbers to predict rather than labels.
        standardise: whether inputs are scaled to mean 0 and deviation 1 of the training samples.
        validation: share of the samples for validation, where the function makes no such split.
        test: share of the samples for the test, where it makes none.

    Raises:
        NeurofaError: code that may not be run, or that returns something else.
    """
    found = load_code(path, name)()
    if isinstance(found, Dataset | Sequences):
        return found
    parts = found if isinstance(found, Mapping) else {"all": found}
    strange = sorted(map(str, parts.keys() - {"all", *SPLITS}))
    if strange or not ({"all", "train"} & parts.keys()):
        raise NeurofaError(
            f"got splits {', '.join(map(str, parts))} from '{name}'; expected train, and validation and test where"
            " there are such; rename them"
        )
    return own_dataset(
        "module",
        {where: _pair(part, where, name) for where, part in parts.items()},
        regression=regression,
        standardise=standardise,
        validation=validation,
        test=test,
        provenance={Path(path).name: file_digest(Path(path))},
    )


def _pair(part: Any, where: str, name: str) -> tuple[Any, Any]:
    """Return inputs and targets as arrays."""
    if isinstance(part, torch.utils.data.Dataset):
        samples = [part[index] for index in range(len(part))]  # type: ignore[arg-type]
        part = tuple(np.stack([np.asarray(value) for value in column]) for column in zip(*samples, strict=True))
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise NeurofaError(
            f"got a {type(part).__name__} for {where} from '{name}'; expected inputs and targets (x, y); return both"
        )
    x, y = (value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value) for value in part)
    return x, y
