"""MNIST: handwritten digits."""

from __future__ import annotations

from experiments.data._idx import IdxSource, idx_dataset
from experiments.data.base import Dataset
from hwmodels.registry import recipe

SOURCE = IdxSource(
    name="mnist",
    folder="MNIST/raw",
    addresses=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    checksums={
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)


@recipe("data", "mnist", source="LeCun, Cortes, Burges 1998")
def mnist(*, validation: int = 5000, subset: int | None = None) -> Dataset:
    """Handwritten digits: 60000 + 10000 grey images of 28 x 28.

    Args:
        validation: training images to hold out.
        subset: training images to keep; None: all.

    Returns:
        Inputs of shape (1, 28, 28), standardised by one mean and deviation.
    """
    return idx_dataset(SOURCE, validation=validation, subset=subset)
