"""Validation splits that share no speaker or person with training."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.data._images import SPLIT_SEED
from hwmodels.errors import NeurofaError


def held_groups(name: str, groups: Tensor, share: float) -> tuple[Tensor, Tensor, list[int]]:
    """Cut samples into two parts so that no group is in both.

    Groups are held out in an order drawn once for all runs, until at least that share of the samples is held.

    Args:
        name: of the data set, for messages.
        groups: (N,) the speaker or person of each sample.
        share: share of the samples to hold out, from 0 (none) to below 1.

    Returns:
        Indices of the samples that are kept and of those held out, in their order, and the groups held out.

    Raises:
        NeurofaError: a share that leaves nothing to train on.
    """
    known, sizes = torch.unique(groups, return_counts=True)
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(SPLIT_SEED))
    before = sizes[order].cumsum(0) - sizes[order]
    chosen = known[order[before < share * len(groups)]]
    if not 0 <= share < 1 or len(chosen) == len(known):
        raise NeurofaError(
            f"got {name}(validation={share}) with {len(known)} speakers or persons; expected a share from 0 that leaves"
            " one to train on; lower it"
        )
    held = torch.isin(groups, chosen)
    return (~held).nonzero().flatten(), held.nonzero().flatten(), sorted(chosen.tolist())
