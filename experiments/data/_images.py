"""Data sets of raw images: a validation split is held out, and inputs are standardised by the train split."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from experiments.data.augment import Augment
from experiments.data.base import Dataset
from experiments.data.split import Split
from hwmodels.errors import NeurofaError

SPLIT_SEED = 0
"""Seed of the cut into train and validation: fixed, so that runs of every seed share their splits."""


def image_dataset(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    classes: int,
    validation: int,
    subset: int | None,
    provenance: Mapping[str, str],
    augment: Augment | None = None,
) -> Dataset:
    """Build the data set of raw images.

    Args:
        name: of the data set.
        train: (N, C, H, W) uint8 images and (N,) uint8 labels; the validation split is taken from them.
        test: images and labels of the test split, in the same form.
        classes: number of classes.
        validation: images to hold out, the first of a seeded permutation.
        subset: images to train on, the next of that permutation; None: all.
        provenance: origin of the files.
        augment: random changes of training batches.

    Raises:
        NeurofaError: the sizes do not fit the data, or a label is out of range.
    """
    images, labels = train
    kept, held = seeded_split(name, len(images), validation, subset)
    mean, std = moments(images[kept])
    return Dataset(
        name=name,
        train=_split(images[kept], labels[kept], mean, std),
        validation=_split(images[held], labels[held], mean, std),
        test=_split(*test, mean, std),
        classes=classes,
        input_shape=tuple(images.shape[1:]),
        provenance={**provenance, "split_seed": str(SPLIT_SEED), "mean": _text(mean), "std": _text(std)},
        augment=augment,
    )


def seeded_split(name: str, available: int, validation: int, subset: int | None) -> tuple[Tensor, Tensor]:
    """Cut training samples into those that are trained on and those held out, by a permutation of a fixed seed.

    Args:
        name: of the data set, for messages.
        available: number of training samples.
        validation: samples to hold out.
        subset: samples to train on; None: all others.

    Returns:
        Indices of the samples to train on, and of those held out, int64.

    Raises:
        NeurofaError: more samples than there are.
    """
    if not 0 <= validation < available:
        raise NeurofaError(
            f"got {name}(validation={validation}); expected 0 to {available - 1} of the {available} training images; "
            "change validation"
        )
    if subset is not None and not 1 <= subset <= available - validation:
        raise NeurofaError(
            f"got {name}(subset={subset}); expected 1 to {available - validation} training images; change subset"
        )
    order = torch.randperm(available, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return order[validation:][:subset], order[:validation]


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel.

    They are computed from exact counts of the 256 grey levels, so that they do not depend on the number of threads.

    Args:
        images: (N, C, H, W) uint8, grey levels.

    Returns:
        Two (C, 1, 1) float32 tensors, in grey levels; a constant channel gets the standard deviation 1.
    """
    level = torch.arange(256, dtype=torch.float64)
    channels = images.transpose(0, 1).flatten(1)
    counts = torch.stack([torch.bincount(channel, minlength=256) for channel in channels])
    share = counts.double() / channels.shape[1]
    mean = share @ level
    std = (share @ level.square() - mean.square()).clamp_min(0).sqrt()
    std = torch.where(std > 0, std, 1.0)
    return mean.float()[:, None, None], std.float()[:, None, None]


def _split(images: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> Split:
    return Split(images.float().sub_(mean).div_(std), labels.long())


def _text(values: Tensor) -> str:
    return ", ".join(f"{value:.4f}" for value in values.flatten().tolist())
