"""CIFAR-10: small colour photographs of ten kinds of things."""

from __future__ import annotations

from experiments.data._archives import Archive
from experiments.data._cifar import CifarOptions, CifarSource, cifar_dataset
from experiments.data.base import Dataset
from hwmodels.registry import recipe

SOURCE = CifarSource(
    name="cifar10",
    archive=Archive(
        name="cifar-10-binary.tar.gz",
        member="cifar-10-batches-bin",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        addresses=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    ),
    train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    test=("test_batch.bin",),
    label_bytes=1,
    classes=10,
    records=10000,
)


@recipe("data", "cifar10", source="Krizhevsky 2009")
def cifar10(
    *,
    validation: int = 5000,
    subset: int | None = None,
    flip: bool = False,
    crop: int = 0,
    classes: int | None = None,
    grey: bool = False,
) -> Dataset:
    """Photographs of 10 kinds of things: 50000 + 10000 colour images of 32 x 32.

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
