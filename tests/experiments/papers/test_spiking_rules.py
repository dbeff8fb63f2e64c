"""The experiment on spiking rules: tiny runs, and checks that can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.papers import spiking_rules
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

CHECKS = spiking_rules.SpikingRules().checks
TINY = "encoded(data=digits(subset=32), ticks=4)"


@pytest.mark.filterwarnings("ignore:got layers that hardly spike")  # after some steps
def test_a_part_ranks_rules_and_tells_their_memory(tmp_path: Path) -> None:
    made = build("experiment", f"spiking_rules(data='{TINY}', network='snn(hidden=[6])', epochs=1)")
    found = conduct(made, Setup(folder=tmp_path, seeds=1, workers=0), parts=["mnist"])
    assert [row["method"] for row in found["rows"]] == list(spiking_rules.RULES)
    memory = {row["method"]: row["trace_bytes"] for row in found["rows"]}
    assert memory["eprop"] > memory["dfa"] > memory["readout_only"]
    offered = [spiking_rules.rule_settings(rule, decaying=False) for rule in spiking_rules.RULES]
    assert len(found["tuning"]) == sum(map(len, offered)) > 3 * len(spiking_rules.RULES)
    assert (tmp_path / "mnist.png").is_file()


def test_forecasts_are_chosen_by_loss(tmp_path: Path) -> None:
    data = "mackey_glass(ticks=20, washout=5, train=60, validation=40, test=40)"
    made = build("experiment", f"spiking_rules(data='{data}', network='snn(hidden=[4])', epochs=1)")
    found = conduct(made, Setup(folder=tmp_path, seeds=1, workers=0), parts=["mackey_glass"])
    for row in found["rows"]:
        tried = [line for line in found["tuning"] if line["method"] == row["method"]]
        assert row["optimizer"] == min(tried, key=lambda line: line["validation_loss"])["optimizer"]
    assert {"bptt", "readout_only"} <= {row["method"] for row in found["rows"]}


@pytest.mark.parametrize("part", list(spiking_rules.DATA))
def test_settings_are_runs(part: str) -> None:
    for data in spiking_rules.DATA[part]:
        RunSpec(data=data, network=spiking_rules.NETWORKS[part]).check()


def test_checks_say_no() -> None:
    lines: list[Record] = [
        {"method": "bptt", "margin": 0.2, "test_accuracy": 0.9},
        {"method": "eprop", "margin": 0.18, "test_accuracy": 0.88},
        {"method": "drtp", "margin": -0.01, "test_accuracy": 0.69},
        {"method": "readout_only", "margin": None, "test_accuracy": 0.7},
    ]
    assert [check.holds for check in CHECKS("mnist", lines)] == [True, True, False, True, False]
    losses = [{"method": m, "test_loss": v} for m, v in (("bptt", 0.1), ("dfa", 0.3), ("readout_only", 0.2))]
    assert [check.holds for check in CHECKS("mackey_glass", losses)] == [True, False, False]
    rows = [
        {"method": method, "ticks": ticks, "peak_mib": ticks if method == "snntorch" else 10.0}
        for method in spiking_rules.METHODS
        for ticks in (100, 1000)
    ]
    assert [check.holds for check in CHECKS("memory", rows)] == [True, True, True, False]


def test_lengths_without_a_case_are_refused() -> None:
    with pytest.raises(NeurofaError, match=r"got spiking_rules\(ticks=\[7\]\)"):
        build("experiment", "spiking_rules(ticks=[7])")


def test_recurrent_networks_are_offered_decay_and_their_oracle_a_clipped_gradient() -> None:
    plain, oracle = (spiking_rules.rule_settings("bptt", decaying=decaying) for decaying in (False, True))
    assert len(plain) == 3
    assert {fields["clip"] for fields in oracle} == {None, 0.1}
    for rule in spiking_rules.RULES:
        offered = spiking_rules.rule_settings(rule, decaying=True)
        assert any("weight_decay" in str(fields["optimizer"]) for fields in offered)
        assert all(str(fields["rule"]).startswith(rule) for fields in offered)
