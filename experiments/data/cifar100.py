"""CIFAR-100: small colour photographs of a hundred kinds of things."""

from __future__ import annotations

from experiments.data._cifar import CifarSource, cifar_dataset
from experiments.data.base import Dataset
from hwmodels.registry import recipe

SOURCE = CifarSource(
    name="cifar100",
    folder="cifar-100-binary",
    train=("train.bin",),
    test=("test.bin",),
    address="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    archive_hash="md5:03b5dce01913d631647c71ecec9e9cb8",
    label_bytes=2,
    classes=100,
    records=None,
)


@recipe("data", "cifar100", source="Krizhevsky 2009")
def cifar100(
    *, validation: int = 1000, subset: int | None = None, flip: bool = False, crop: int = 0,
    classes: int | None = None, grey: bool = False,
) -> Dataset:  # fmt: skip
    """Photographs of 100 kinds of things (fine labels): 50000 + 10000 colour images of 32 x 32, or a subset.

    Args:
        validation: training images to hold out.
        subset: training images to keep; ``None``: all.
        flip: mirror training images at random.
        crop: shift training images at random by up to that many pixels; 4 is usual.
        classes: keep the images of the first so many classes; ``None``: of all.
        grey: luminance instead of colours.

    Returns:
        Inputs of shape (3, 32, 32), or (1, 32, 32) in grey, standardised by channel.
    """
    return cifar_dataset(SOURCE, validation=validation, subset=subset, flip=flip, crop=crop, classes=classes, grey=grey)
