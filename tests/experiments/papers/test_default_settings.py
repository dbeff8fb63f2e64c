"""The experiment ``default_settings``: rows of served and refused pairs, its checks, and its options."""

import pytest
import torch

from experiments.papers.default_settings import DIVERGED, REFUSED, DefaultSettings, losses_of_run
from experiments.runs.build import build_network, load_data
from experiments.runs.recommended import recommended_optimizer
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError


def test_rules_learn_as_recommended_and_a_pair_that_is_not_served_says_why(tmp_path):
    experiment = DefaultSettings(steps=30, rules=("dfa", "raf(rank=40)"))
    result = conduct(experiment, Setup(folder=tmp_path, seeds=1), parts=["mlp"])
    assert [row["rule"] for row in result["rows"]] == ["dfa", "raf(rank=40)"]
    for row in result["rows"]:
        assert (row["outcome"], row["n"]) == ("learns", 1)
        assert row["end"] < row["start"] < 2.4
        assert row["optimizer"] == recommended_optimizer(row["rule"], "mlp")
    assert [check["holds"] for check in result["checks"]] == [True, True]
    assert (tmp_path / "mlp.png").stat().st_size > 5000


def test_a_refusal_is_a_row_without_a_check(tmp_path):
    result = conduct(DefaultSettings(steps=10, rules=("pepita",)), Setup(folder=tmp_path, seeds=1), parts=["snn"])
    (row,) = result["rows"]
    assert (row["outcome"], row["n"]) == (REFUSED, 0)
    assert "expected" in row["why"]
    assert (result["checks"], result["pictures"]) == ([], [])


def test_the_loss_is_that_of_the_runs():
    """The first loss belongs to the initial weights; a larger rate makes another second step."""
    losses = {}
    for rate in (0.1, 0.2):
        spec = RunSpec(network="mlp(hidden=[8])", optimizer=f"sgd(lr={rate})")
        run = losses_of_run(spec, load_data(spec.data))
        losses[rate] = [next(run), next(run)]
    assert losses[0.1][0] == losses[0.2][0]
    assert losses[0.1][1] != losses[0.2][1]


def test_divergence_and_a_rise_are_said_and_do_not_pass():
    rows = [
        {"rule": "a", "outcome": DIVERGED, "starts": [2.0], "ends": [1.0]},
        {"rule": "b", "outcome": "does not fall", "starts": [2.0, 2.0], "ends": [1.0, 2.5]},
        {"rule": "c", "outcome": "learns", "starts": [2.0, 2.0], "ends": [1.0, 1.5]},
    ]
    checks = list(DefaultSettings().checks("mlp", rows))
    assert [(check.value, check.holds) for check in checks] == [(None, False), (-0.5, False), (0.5, True)]


def test_a_run_whose_loss_is_no_number_is_marked(tmp_path, monkeypatch):
    def weights_of_nan(spec, dataset):
        network = build_network(spec, dataset)
        with torch.no_grad():
            network.first[0].weight.fill_(torch.nan)
        return network

    monkeypatch.setattr("experiments.papers.default_settings.build_network", weights_of_nan)
    result = conduct(DefaultSettings(steps=10, rules=("bp",)), Setup(folder=tmp_path, seeds=1), parts=["mlp"])
    (row,) = result["rows"]
    assert row["outcome"] == DIVERGED
    assert "NaN" in row["why"]
    assert [check["holds"] for check in result["checks"]] == [False]


def test_options_are_checked_before_anything_runs():
    with pytest.raises(NeurofaError, match="expected at least 10"):
        DefaultSettings(steps=9)
    with pytest.raises(NeurofaError, match="ra"):
        DefaultSettings(rules=("raff",))
    with pytest.raises(NeurofaError, match="rnk"):
        DefaultSettings(rules=("raf(rnk=3)",))
