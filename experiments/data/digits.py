"""The digits of scikit-learn: no file, no download."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.data._images import SPLIT_SEED, image_dataset
from experiments.data.base import Dataset
from hwmodels.registry import recipe

TEST = 360


@recipe("data", "digits", source="Alpaydin, Kaynak, UCI repository 1998; scikit-learn's load_digits")
def digits(*, validation: int = 180, subset: int | None = None) -> Dataset:
    """Handwritten digits embedded in scikit-learn: 1797 grey images of 8 x 8, 360 of them for the test.

    Args:
        validation: training images to hold out.
        subset: training images to keep; None: all.

    Returns:
        Inputs of shape (1, 8, 8), standardised by one mean and deviation; the test split is stratified.
    """
    from sklearn.datasets import load_digits

    table = load_digits()
    images = torch.from_numpy(table.data).to(torch.uint8).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(table.target).to(torch.uint8)
    order = stratified_order(labels, torch.Generator().manual_seed(SPLIT_SEED))
    test, train = order[:TEST], order[TEST:]
    return image_dataset(
        "digits",
        (images[train], labels[train]),
        (images[test], labels[test]),
        classes=10,
        validation=validation,
        subset=subset,
        provenance={"origin": "scikit-learn load_digits"},
    )


def stratified_order(labels: Tensor, gen: torch.Generator) -> Tensor:
    """Return a random order whose every beginning has the classes in their overall shares.

    Args:
        labels: (N,) class labels from 0 on.
        gen: source of randomness.

    Returns:
        (N,) indices.
    """
    place = torch.empty(len(labels), dtype=torch.float64)
    for label in range(int(labels.max()) + 1):
        members = (labels == label).nonzero().flatten()
        shuffled = members[torch.randperm(len(members), generator=gen)]
        place[shuffled] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    # ties (classes of one size) are ordered at random, not by label
    mixed = torch.randperm(len(labels), generator=gen)
    return mixed[place[mixed].argsort(stable=True)]
