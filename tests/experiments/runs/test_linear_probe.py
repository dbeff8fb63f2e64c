"""Linear probes against scikit-learn, and what they can and cannot find."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import RidgeCV

from experiments.data import Dataset, Split
from experiments.diagnosis.probes import compare_probes, sign_test
from experiments.runs.linear_probe import PENALTIES, probe_scores, ridge_predictions
from hwmodels.registry import build
from neurofa.core.randomness import generator


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed, "probe test"), dtype=torch.float64)


@pytest.mark.parametrize(("n", "width"), [(80, 20), (40, 90), (30, 30)])
def test_ridge_equals_scikit_learn(n: int, width: int) -> None:
    x = normal(n, width) @ torch.diag(torch.logspace(0, -2, width, dtype=torch.float64)) + 1
    y = x @ normal(width, 3, seed=1) + 0.3 * normal(n, 3, seed=2) + 2
    unseen = normal(7, width, seed=3)
    answers, penalty = ridge_predictions(x, y, unseen)
    trace = float((x - x.mean(0)).square().sum())
    theirs = RidgeCV(alphas=[p * trace for p in PENALTIES]).fit(x.numpy(), y.numpy())
    assert penalty == pytest.approx(theirs.alpha_ / trace)
    assert torch.allclose(answers, torch.from_numpy(theirs.predict(unseen.numpy())), atol=1e-9)
    # the control: without a penalty that the data chose, the answers are others
    other = RidgeCV(alphas=[trace]).fit(x.numpy(), y.numpy())
    assert not torch.allclose(answers, torch.from_numpy(other.predict(unseen.numpy())), atol=1e-3)


def test_dead_features_are_answered_by_the_mean() -> None:
    y = normal(20, 2)
    answers, _ = ridge_predictions(torch.ones(20, 5), y, torch.ones(3, 5))
    assert torch.allclose(answers, y.mean(0).expand(3, 2))


def test_probes_generalise_only_where_there_is_something_to_find() -> None:
    digits: Dataset = build("data", "digits(validation=500)")
    network = build("network", "mlp(hidden=[40])", input_shape=digits.input_shape, outputs=10, seed=0)
    network.train()
    found = probe_scores(network, digits)
    assert list(found["layers"]) == ["input", "dense1"]
    assert found["held_out"] == 500
    assert found["layers"]["input"] > 0.85
    assert network.training
    # the control: labels that do not belong to the images cannot be told on samples that the fit has not seen
    shuffled = digits.train.y[torch.randperm(len(digits.train), generator=generator(0, "shuffle"))]
    empty = probe_scores(network, replace(digits, train=Split(digits.train.x, shuffled)))
    assert all(share < 0.2 for share in empty["layers"].values())


def test_without_held_out_data_the_fit_and_the_judgement_share_no_sample() -> None:
    data: Dataset = build("data", "digits(validation=0, subset=60)")
    network = build("network", "mlp(hidden=[8])", input_shape=data.input_shape, outputs=10, seed=0)
    shuffled = data.train.y[torch.randperm(60, generator=generator(1, "shuffle"))]
    found = probe_scores(network, replace(data, train=Split(data.train.x, shuffled)))
    assert found["held_out"] == 30
    # 30 samples of 64 numbers: a fit that was judged on its own samples would know them all
    assert found["layers"]["input"] < 0.5


def test_a_linear_regression_is_solved() -> None:
    data = build("data", "teacher(n_in=12, hidden=[], classes=2, samples=300, validation=200, task=regression)")
    network = build("network", "mlp(hidden=[30])", input_shape=(12,), outputs=2, seed=0)
    layers = probe_scores(network, data)["layers"]
    assert layers["input"] > 0.999
    assert probe_scores(network, data, of_input=False)["layers"] == {"dense0": layers["dense0"]}


def test_sign_test_is_mcnemars() -> None:
    ours, theirs = torch.zeros(20), torch.zeros(20)
    assert sign_test(ours, theirs) == 1
    theirs[:6] = 1  # six discordant samples, all for us: 2 * 2^-6
    assert sign_test(ours, theirs) == pytest.approx(2 * 2**-6)
    ours[6:12] = 1
    assert sign_test(ours, theirs) == 1


def test_features_are_compared_with_those_that_never_learnt() -> None:
    data: Dataset = build("data", "digits(validation=500)")
    options = {"input_shape": data.input_shape, "outputs": 10}
    wide = build("network", "mlp(hidden=[64])", seed=0, **options)
    dead = build("network", "mlp(hidden=[64])", seed=0, **options)
    dead.layer("dense1").synapses["weight"].weight.data[3:] = 0
    worse = compare_probes({"start": wide, "end": dead, "control": wide}, data)["dense1"]
    better = compare_probes({"start": dead, "end": wide, "control": dead}, data)["dense1"]
    same = compare_probes({"start": wide, "end": wide, "control": wide}, data)["dense1"]
    assert (worse.verdict, better.verdict, same.verdict) == ("worse", "better", "same")
