"""Fashion-MNIST: pieces of clothing in the format of MNIST."""

from __future__ import annotations

from experiments.data._idx import IdxSource, idx_dataset
from experiments.data.base import Dataset
from hwmodels.registry import recipe

SOURCE = IdxSource(
    name="fashion_mnist",
    folder="FashionMNIST/raw",
    addresses=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    checksums={
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)


@recipe("data", "fashion_mnist", source="Xiao, Rasul, Vollgraf, arXiv:1708.07747")
def fashion_mnist(*, validation: int = 5000, subset: int | None = None) -> Dataset:
    """Clothing: 60000 + 10000 grey images of 28 x 28.

    Args:
        validation: training images to hold out.
        subset: training images to keep; None: all.

    Returns:
        Inputs of shape (1, 28, 28), standardised by one mean and deviation.
    """
    return idx_dataset(SOURCE, validation=validation, subset=subset)
