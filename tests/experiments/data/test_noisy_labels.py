"""Labels that are replaced at random."""

from __future__ import annotations

import math

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build


@pytest.mark.parametrize("p", [0.2, 0.9])
def test_the_share_of_changed_labels_is_that_of_uniform_replacement(p):
    clean, noisy = build("data", "digits"), build("data", f"noisy_labels(data=digits, p={p})")
    n = len(clean.train)
    changed = float((clean.train.y != noisy.train.y).double().mean())
    expected = p * 0.9  # one in ten draws the old class
    assert abs(changed - expected) / math.sqrt(expected * (1 - expected) / n) < 4
    # drawn classes are uniform
    drawn = noisy.train.y[clean.train.y != noisy.train.y].bincount(minlength=10).double()
    mean = drawn.sum() / 10
    assert float(((drawn - mean).square() / mean).sum()) < 30  # chi squared of 9 degrees of freedom, p < 0.001
    assert torch.equal(clean.train.x, noisy.train.x)
    assert noisy.provenance["label_noise"] == f"{p:g}"


def test_only_training_labels_unless_everywhere():
    clean = build("data", "digits")
    noisy = build("data", "noisy_labels(p=0.9)")
    everywhere = build("data", "noisy_labels(p=0.9, everywhere=True)")
    for where in ("validation", "test"):
        assert torch.equal(noisy.splits()[where].y, clean.splits()[where].y)
        assert not torch.equal(everywhere.splits()[where].y, clean.splits()[where].y)
    assert torch.equal(noisy.train.y, everywhere.train.y)


def test_labels_follow_the_seed_and_p_only_adds():
    clean, few, many, other = (
        build("data", spec)
        for spec in ("digits", "noisy_labels(p=0.2)", "noisy_labels(p=0.5)", "noisy_labels(p=0.2, seed=1)")
    )
    assert torch.equal(build("data", "noisy_labels(p=0.2)").train.y, few.train.y)
    assert not torch.equal(other.train.y, few.train.y)
    hit = few.train.y != clean.train.y
    assert torch.equal(many.train.y[hit], few.train.y[hit])
    assert torch.equal(build("data", "noisy_labels(p=0)").train.y, clean.train.y)


@pytest.mark.parametrize("spec", ["noisy_labels(p=1.1)", "noisy_labels(data='teacher(task=regression)')"])
def test_what_makes_no_sense_is_refused(spec):
    with pytest.raises(NeurofaError, match="got noisy_labels"):
        build("data", spec)
