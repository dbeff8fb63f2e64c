"""A learning rate is found by short runs on validation data, and what was tried is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.cli import run_command as command
from experiments.runs import rate_search
from experiments.runs.rate_search import search_rate
from experiments.runs.spec import RunSpec, stored_meaning
from hwmodels.errors import NeurofaError

SMALL: dict[str, Any] = {"data": "digits(subset=200, validation=50)", "network": "mlp(hidden=[8])", "batch_size": 20}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_search, "STEPS", 12)


def test_the_lowest_validation_loss_wins_and_the_grid_goes_on_beyond_its_edges() -> None:
    spec = RunSpec(**SMALL, optimizer="sgd(lr=0.001, momentum=0.5)")
    found = search_rate(spec)
    losses = {each.optimizer: each.loss for each in found.tried}
    assert found.optimizer == min(losses, key=lambda name: losses[name] or float("inf"))
    assert "momentum=0.5" in found.optimizer
    assert len(found.tried) == 5 + rate_search.BEYOND, "0.01 is far too small as well"
    assert search_rate(spec) == found
    assert found.optimizer in found.line


def test_rates_that_diverge_are_out() -> None:
    found = search_rate(RunSpec(**{**SMALL, "network": "mlp(hidden=[8], activation=relu)"}, optimizer="sgd(lr=1e6)"))
    assert any(each.loss is None for each in found.tried) or found.tried[-1].loss > 100  # type: ignore[operator]
    assert "lr" in found.line


def test_without_validation_data_it_is_refused() -> None:
    with pytest.raises(NeurofaError, match="without validation data"):
        search_rate(RunSpec(**{**SMALL, "data": "digits(subset=200, validation=0)"}))


def test_train_stores_what_it_found_and_what_it_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", SMALL["data"], "--network", SMALL["network"], "--epochs", "1", "--optimizer", "auto"]
    assert command(["train", *words, "--out", str(tmp_path / "a")]) == 0
    about = json.loads((tmp_path / "a" / "run.json").read_text())
    assert about["spec"]["optimizer"] in [each["optimizer"] for each in about["optimizer_search"]["run"]]
    control = json.loads((tmp_path / "a" / "control" / "run.json").read_text())["spec"]["optimizer"]
    assert control in [each["optimizer"] for each in about["optimizer_search"]["control"]]
    assert "best validation loss after" in capsys.readouterr().err
    assert command(["train", *words, "--resume", "--out", str(tmp_path / "a")]) == 0


def test_runs_of_before_delivered_errors_of_one_size() -> None:
    stored = RunSpec(rule="raf(rank=3)", feedback_scale="fixed").to_json()
    del stored["feedback_scale"]
    meant = stored_meaning(stored)
    assert meant["feedback_scale"] == "fixed"
    assert meant["rule"] == "raf(step=None, rank=3)"
    assert (
        RunSpec.from_stored({**stored, "rule": "dfa"}).key
        == RunSpec(rule="dfa", optimizer=stored["optimizer"], feedback_scale="fixed").key
    )
    assert RunSpec().key != RunSpec(feedback_scale="fixed").key
    now = RunSpec(rule="raf(rank=3)").to_json()
    assert RunSpec.from_stored(now).rule == "raf(rank=3)"
