"""CIFAR-100: small colour photographs of a hundred kinds of things."""

from __future__ import annotations

from experiments.data._archives import Archive
from experiments.data._cifar import CifarOptions, CifarSource, cifar_dataset
from experiments.data.base import Dataset
from hwmodels.registry import recipe

SOURCE = CifarSource(
    name="cifar100",
    archive=Archive(
        name="cifar-100-binary.tar.gz",
        member="cifar-100-binary",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        addresses=("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
    ),
    train=("train.bin",),
    test=("test.bin",),
    label_bytes=2,
    classes=100,
    records=None,
)


@recipe("data", "cifar100", source="Krizhevsky 2009")
def cifar100(
    *,
    validation: int = 1000,
    subset: int | None = None,
    flip: bool = False,
    crop: int = 0,
    classes: int | None = None,
    grey: bool = False,
) -> Dataset:
    """Photographs of 100 kinds of things (fine labels): 50000 + 10000 colour images of 32 x 32, or a subset.

    Args:
        validation: training images to hold out.
        subset: training images to keep; None: all.
        flip: whether training images are mirrored at random.
        crop: pixels by which training images are shifted at random, at most; 4 is usual.
        classes: number of classes to keep, the first ones; None: all.
        grey: whether inputs are luminances instead of colours.

    Returns:
        Inputs of shape (3, 32, 32), or (1, 32, 32) in grey, standardised by channel.
    """
    options = CifarOptions(validation=validation, subset=subset, flip=flip, crop=crop, classes=classes, grey=grey)
    return cifar_dataset(SOURCE, options)
