"""CIFAR-10: small colour photographs of ten kinds of things."""

from __future__ import annotations

from experiments.data._cifar import CifarSource, cifar_dataset
from experiments.data.base import Dataset
from hwmodels.registry import recipe

SOURCE = CifarSource(
    name="cifar10",
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    test=("test_batch.bin",),
    address="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    archive_hash="md5:c32a1d4ab5d03f1284b67883e8d87530",
    label_bytes=1,
    classes=10,
    records=10000,
)


@recipe("data", "cifar10", source="Krizhevsky 2009")
def cifar10(
    *, validation: int = 5000, subset: int | None = None, flip: bool = False, crop: int = 0,
    classes: int | None = None, grey: bool = False,
) -> Dataset:  # fmt: skip
    """Photographs of 10 kinds of things: 50000 + 10000 colour images of 32 x 32.

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
