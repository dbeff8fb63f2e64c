"""Any labelled data set with a share of its labels drawn at random."""

from __future__ import annotations

from dataclasses import replace

import torch

from experiments.data.base import Dataset, build_static
from experiments.data.split import Split
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe
from hwmodels.spec import Spec


@recipe("data", "noisy_labels", source="Refinetti et al. 2021, arXiv 2011.12428, the authors' code")
def noisy_labels(*, data: Spec | str = "digits", p: float = 0.5, everywhere: bool = False, seed: int = 0) -> Dataset:
    """Labelled data, each label replaced with probability p by a class drawn uniformly (which may be the old one).

    Validation and test keep their labels unless ``everywhere`` is set (as in the source, in train and test): accuracy
    there then measures what was learnt, and that of training how much noise was fitted.

    Args:
        data: the data set.
        p: probability, 0 to 1.
        everywhere: whether the labels of validation and test are replaced, too.
        seed: of the replacement, not of a run: runs of every seed share the labels.

    Raises:
        NeurofaError: a probability outside 0 to 1, or data without labels.
    """
    if not 0 <= p <= 1:
        raise NeurofaError(f"got noisy_labels(p={p}); expected a probability, 0 to 1; change p")
    clean = build_static(data)
    if clean.regression:
        raise NeurofaError(f"got noisy_labels(data={data}), a regression; expected labels; use another data set")
    gen = torch.Generator().manual_seed(seed)
    mixed = {where: _mixed(split, p, clean.classes, gen) for where, split in clean.splits().items()}
    kept = mixed if everywhere else clean.splits()
    provenance = {**clean.provenance, "label_noise": f"{p:g}", "label_noise_seed": str(seed)}
    named = replace(clean, name=f"noisy {clean.name}", provenance=provenance)
    return replace(named, train=mixed["train"], validation=kept["validation"], test=kept["test"])


def _mixed(split: Split, p: float, classes: int, gen: torch.Generator) -> Split:
    # drawn for every sample, so that the labels which are replaced at p are replaced at every larger p too
    hit = torch.rand(len(split), generator=gen) < p
    drawn = torch.randint(classes, (len(split),), generator=gen)
    return Split(split.x, torch.where(hit, drawn, split.y))
