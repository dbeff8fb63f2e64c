"""Arrays of a user's own as data sets: labels, numbers and shapes are checked, shares are held out, inputs scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from experiments.data._images import SPLIT_SEED
from experiments.data.base import Dataset
from experiments.data.split import Split
from hwmodels.errors import NeurofaError

Parts = Mapping[str, tuple[Any, Any]]
"""Inputs (N, ...) and targets (N,) or (N, o), by split: ``train``, ``validation``, ``test``, or ``all`` of them."""


def own_dataset(
    name: str,
    parts: Parts,
    *,
    regression: bool,
    standardise: bool,
    validation: float,
    test: float,
    provenance: Mapping[str, str],
) -> Dataset:
    """Return the data set of checked arrays; splits that are missing are cut from the training samples.

    Args:
        name: of the data set.
        parts: inputs and targets by split.
        regression: whether targets are numbers.
        standardise: whether inputs get mean 0 and deviation 1: of each channel of images (N, C, H, W), of each column
            of tables (N, n), of all values otherwise, by the training samples.
        validation: share of the training samples that is held out where there is no such split.
        test: the same for the test.
        provenance: origin of the data.

    Raises:
        NeurofaError: samples and targets that do not go together, labels that are not 0 to k - 1, or splits without
            samples.
    """
    checked = {
        where: (_inputs(name, where, x), _targets(name, where, y, regression)) for where, (x, y) in parts.items()
    }
    shapes = {where: x.shape[1:] for where, (x, _) in checked.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{shape} in {where}" for where, shape in shapes.items())
        raise NeurofaError(f"got inputs of shape {listed} in data '{name}'; expected one shape; make them alike")
    for where, (x, y) in checked.items():
        if len(x) != len(y):
            raise NeurofaError(
                f"got {len(x)} inputs with {len(y)} targets in {where} of data '{name}'; expected one target an input;"
                " check both"
            )
    targets = np.concatenate([y for _, y in checked.values()])
    classes = targets.shape[1] if regression else check_labels(name, targets)
    whole = next(where for where in ("all", "train") if where in checked)
    x, y = checked[whole]
    kept = {where: np.arange(len(y)) for where in checked} | shares(
        name, y if not regression else np.zeros(len(y), np.int64), checked, validation=validation, test=test
    )
    if not regression:
        require_trained(name, y[kept["train"]], classes)
    mean, std = _moments(x[kept["train"]]) if standardise else (0.0, 1.0)
    splits = {}
    for where in ("train", "validation", "test"):
        own_x, own_y = checked[where] if where in checked and where != whole else (x[kept[where]], y[kept[where]])
        scaled = _scaled(own_x, mean, std) if standardise else own_x.astype(np.float32)
        splits[where] = Split(torch.from_numpy(scaled), torch.from_numpy(np.ascontiguousarray(own_y)))
    told = {"mean": _text(mean), "std": _text(std)} if standardise else {}
    return Dataset.of(
        name,
        (splits["train"], splits["validation"], splits["test"]),
        classes=classes,
        provenance={**provenance, "split_seed": str(SPLIT_SEED), **told},
    )


def shares(name: str, labels: Any, given: Any, *, validation: float, test: float) -> dict[str, Any]:
    """Cut the splits that are missing out of the training samples, every class in its share.

    Args:
        name: of the data set, for messages.
        labels: (N,) classes of the training samples.
        given: names of the splits that are there.
        validation: share for validation, if it is not given.
        test: share for the test, if it is not given.

    Returns:
        Sorted indices of the samples by split, for training and for what was missing.

    Raises:
        NeurofaError: shares out of range, or so large that nothing is left to train on.
    """
    cut = {where: share for where, share in (("validation", validation), ("test", test)) if where not in given}
    if any(not 0 <= share < 1 for share in cut.values()) or sum(cut.values()) >= 1:
        told = ", ".join(f"{where}={share}" for where, share in cut.items())
        raise NeurofaError(f"got {name}({told}); expected shares from 0, together below 1; change them")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED)).numpy()
    parts: dict[str, list[Any]] = {"train": [], **{where: [] for where in cut}}
    for label in np.unique(labels):
        members = order[labels[order] == label]
        begin = 0
        for where, share in cut.items():
            count = round(share * len(members))
            parts[where].append(members[begin : begin + count])
            begin += count
        parts["train"].append(members[begin:])
    found = {where: np.sort(np.concatenate(each)) if each else np.zeros(0, np.int64) for where, each in parts.items()}
    if not len(found["train"]):
        raise NeurofaError(f"got {len(labels)} samples in data '{name}'; expected some to train on; add samples")
    return found


def check_labels(name: str, labels: Any) -> int:
    """Return the number of classes.

    Raises:
        NeurofaError: labels other than 0 to k - 1, each at least once, or a single class.
    """
    known = np.unique(labels)
    if not len(known):
        raise NeurofaError(f"got no samples in data '{name}'; expected some; fill the file")
    low, high, count = int(known[0]), int(known[-1]), len(known)
    if low == 0 and high == count - 1 and count > 1:
        return count
    if count == 1:
        raise NeurofaError(f"got the single label {low} in data '{name}'; expected two classes or more; add samples")
    if high - low == count - 1:
        raise NeurofaError(
            f"got labels {low} to {high} in data '{name}'; expected 0 to {count - 1}; subtract {low} from them"
        )
    missing = next(label for label in range(count) if label not in known)
    raise NeurofaError(
        f"got {count} different labels from {low} to {high} in data '{name}', of which {missing} is missing; expected 0"
        f" to {count - 1} without gaps; number them anew, or say regression=True if they are numbers to predict"
    )


def require_trained(name: str, labels: Any, classes: int) -> None:
    """Refuse a class without a single training sample.

    Raises:
        NeurofaError: the first such class.
    """
    missing = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if len(missing):
        raise NeurofaError(
            f"got no training sample of class {missing[0]} in data '{name}'; expected some of each; add samples, or"
            " hold out less"
        )


def _inputs(name: str, where: str, x: Any) -> Any:
    x = _numbers(name, f"{where} inputs", x)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise NeurofaError(
            f"got {where} inputs of shape {x.shape} in data '{name}'; expected (N, ...), samples first; reshape them"
        )
    return x


def _targets(name: str, where: str, y: Any, regression: bool) -> Any:
    y = _numbers(name, f"{where} targets", y)
    if regression:
        y = y[:, None] if y.ndim == 1 else y
        if y.ndim != 2 or not y.shape[1]:
            raise NeurofaError(
                f"got {where} targets of shape {y.shape} in data '{name}'; expected (N,) or (N, o); reshape them"
            )
        return y.astype(np.float32)
    if y.dtype.kind == "f":
        raise NeurofaError(
            f"got {where} targets of {y.dtype} in data '{name}'; expected whole-number labels; store them as integers,"
            " or say regression=True if they are numbers to predict"
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise NeurofaError(
            f"got {where} labels of shape {y.shape} in data '{name}'; expected (N,); turn rows of 0 and 1 into labels"
            " with argmax(1)"
        )
    return y.astype(np.int64)


def _numbers(name: str, what: str, values: Any) -> Any:
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise NeurofaError(
            f"got {what} of type {values.dtype} in data '{name}'; expected real numbers; convert them, one array of a"
            " regular shape"
        )
    if not values.ndim:
        raise NeurofaError(f"got a single number as {what} of data '{name}'; expected an array; check the file")
    if values.dtype.kind == "f":
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            raise NeurofaError(
                f"got {values[tuple(wrong[0])]} at {tuple(map(int, wrong[0]))} of the {what} in data '{name}'; expected"
                " finite numbers; clean the data"
            )
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _moments(x: Any) -> tuple[Any, Any]:
    axes = {2: 0, 4: (0, 2, 3)}.get(x.ndim)
    mean = x.mean(axes, dtype=np.float64, keepdims=True)
    std = x.std(axes, dtype=np.float64, keepdims=True)
    return mean, np.where(std > 0, std, 1.0)


def _scaled(x: Any, mean: Any, std: Any) -> Any:
    """Return (x - mean) / std in float32; columns of tables may be large beside their spread, pixels are not."""
    work = np.float64 if x.ndim == 2 else np.float32
    values = x.astype(work)
    values -= mean.astype(work)
    values /= std.astype(work)
    return values.astype(np.float32, copy=False)


def _text(values: Any) -> str:
    flat = np.asarray(values).ravel()
    told = ", ".join(f"{value:.4g}" for value in flat[:8])
    return told if len(flat) <= 8 else f"{told}, ... ({len(flat)} in all)"
