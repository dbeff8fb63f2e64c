"""The experiment faults: rates that are meant, where the faults are, and what its checks say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.papers.faults import BP, FEEDBACK, FLOOR, HIGH_SHARE, WEIGHTS, Faults, sound, stuck
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

SMALL = "faults(data=digits, hidden=12, epochs=1, rates=[0, 30, 80], scales=[0.1])"


@pytest.mark.parametrize("rate", [3.0, 50.0])
@pytest.mark.parametrize("high_share", [HIGH_SHARE, 0.0])
def test_the_rate_is_that_of_single_elements(rate: float, high_share: float) -> None:
    n, p = 200_000, rate / 100
    zeros = torch.zeros(n)
    device = build("device", stuck(rate, high_share, 0.107))
    gen = torch.Generator().manual_seed(0)
    # of sound elements that are written to +full_scale and to -full_scale, what moves says which are stuck
    cells = device.program(zeros, gen)
    up, down = (device.value(device.write(cells, torch.full((n,), side * 0.107), gen)) for side in (1.0, -1.0))
    plus = (up == device.value(cells)).double().mean().item()
    minus = (down == device.value(cells)).double().mean().item()
    for share in (plus, minus):
        assert abs(share - p) / math.sqrt(p * (1 - p) / n) < 4
    high = (device.value(cells) != 0).double().mean().item()
    expected = 2 * p * high_share * (1 - p * high_share)  # one of the two is high, the other is not
    assert abs(high - expected) / math.sqrt(max(expected * (1 - expected), 1e-12) / n) < 4


def test_weights_end_at_the_full_scale_with_and_without_faults() -> None:
    for spec in (sound(0.107), stuck(30.0, HIGH_SHARE, 0.107)):
        device = build("device", spec)
        gen = torch.Generator().manual_seed(0)
        cells = device.program(torch.zeros(50, 50), gen)
        for change in (1.0, -3.0):
            cells = device.write(cells, torch.full((50, 50), change), gen)
            assert device.value(cells).abs().max().item() == pytest.approx(0.107, rel=1e-6)
    # so fine that a training step is kept: a float's own precision at the full scale
    fine = build("device", sound(0.107))
    cells = fine.program(torch.full((4, 4), 0.05))
    assert fine.value(fine.write(cells, torch.full((4, 4), 3e-7))) == pytest.approx(0.0500003, abs=2e-8)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::neurofa.core.programming.ClippedWeights")  # the full scale is what is asked
def test_faults_sit_where_the_series_says(tmp_path: Path) -> None:
    result = conduct(build("experiment", SMALL), Setup(folder=tmp_path, seeds=1, workers=0))
    for row in result["rows"]:
        if row["part"] == "range":
            assert "0.1" in row["device"]
            continue
        inside = "stuck" in row["rule"], "stuck" in row["device"]
        assert inside == (row["series"] == FEEDBACK and row["x"] > 0, row["series"] != FEEDBACK and row["x"] > 0)
        assert "high=0)" in row["rule"] + row["device"] or row["part"] == "stuck" or not row["x"]
    at = {(row["part"], row["series"], row["x"]): row for row in result["rows"]}
    # controls at every second rate
    assert {x for part, series, x in at if series == BP} == {0.0, 80.0}
    assert {x for part, series, x in at if series == FLOOR and part == "stuck"} == {0.0, 80.0}
    # without faults both series are the same runs
    clean = [at["stuck", series, 0.0]["test_accuracies"] for series in (FEEDBACK, WEIGHTS)]
    assert clean[0] == clean[1]
    for part in ("stuck", "low", "range"):
        assert (tmp_path / f"{part}.png").read_bytes().startswith(b"\x89PNG")
    assert [figure["certainty"] for figure in result["reference"]] == ["remembered, not verified"]


def lines(**accuracies: float) -> list[dict[str, Any]]:
    series = {"feedback": FEEDBACK, "weights": WEIGHTS, "floor": FLOOR}
    made = []
    for key, accuracy in accuracies.items():
        name, rate = key.split("_")
        made.append({"series": series[name], "x": float(rate), "test_accuracy": accuracy})
    return made


def test_checks_follow_the_figures() -> None:
    figures = {"feedback_0": 0.97, "weights_0": 0.97, "feedback_30": 0.968, "weights_30": 0.96, "floor_30": 0.92}
    made = {check.name: check for check in Faults().checks("stuck", lines(**figures))}
    less = "stuck: 30 % in the feedback cost less than in the weights, by points"
    over = f"stuck: {WEIGHTS}, 30: over readout_only, points"
    cost = "stuck: what 30 % in the feedback cost, points"
    assert set(made) == {less, over, cost}
    assert (made[less].value, made[over].value, made[cost].value) == (0.8, 4.0, 0.2)
    assert all(check.holds for check in made.values())
    for key, value, fallen in (
        ("weights_30", 0.968, [less]),
        ("floor_30", 0.96, [over]),
        ("feedback_0", 0.974, [cost]),
    ):
        found = Faults().checks("stuck", lines(**{**figures, key: value}))
        assert [check.name for check in found if not check.holds] == fallen


def test_rates_are_percentages() -> None:
    assert isinstance(build("experiment", "faults"), Faults)
    with pytest.raises(NeurofaError, match="percentages"):
        Faults(rates=(120.0,))
