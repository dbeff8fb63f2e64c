"""The experiment on transformers of text: a tiny run, its rows, and checks that can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.papers.dfa_transformer import MACRO, MICRO, SMALL, WHOLE, DFATransformer
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.registry import build

METHODS = {"bp", "bp, one block", MACRO, MICRO, "raf", "grape2026", "readout_only"}


@pytest.mark.long
def test_every_method_has_a_perplexity_beside_bp(tmp_path: Path) -> None:
    spec = "dfa_transformer(text='text(context=64)', width=8, depth=2, rank=2, rates=[0.01, 0.001], epochs=1)"
    made = build("experiment", spec.replace("epochs=1", "epochs=1, tuning_epochs=1"))
    found = conduct(made, Setup(folder=tmp_path, seeds=1, workers=0), parts=["rhyme"])
    rows = {row["method"]: row for row in found["rows"]}
    assert rows.keys() == METHODS
    assert list(rows) == sorted(rows, key=lambda method: float(rows[method]["test_perplexity"]))
    assert rows["bp"]["over_bp"] == 1
    for method, row in rows.items():
        tried = [line for line in found["tuning"] if line["method"] == method]
        assert len(tried) == 2
        assert row["optimizer"] == min(tried, key=lambda line: line["validation_loss"])["optimizer"]
        assert row["over_bp"] == pytest.approx(row["test_perplexity"] / rows["bp"]["test_perplexity"])
    assert "units=finest" in rows[MICRO]["network"]
    assert "depth=1" in rows["bp, one block"]["network"]
    assert (tmp_path / "rhyme.png").stat().st_size > 5000


@pytest.mark.parametrize("data", [*SMALL.values(), *WHOLE.values()])
def test_settings_are_runs(data: str) -> None:
    RunSpec(data=data, network="gpt").check()


def test_checks_say_no() -> None:
    def rows(**perplexities: float) -> list[dict[str, object]]:
        return [{"method": method, "test_perplexity": value} for method, value in perplexities.items()]

    checks = DFATransformer().checks
    good = {"bp": 10.0, "bp, one block": 12.0, MICRO: 15.0, MACRO: 20.0, "readout_only": 40.0}
    assert all(check.holds for check in checks("words", rows(**good)))
    bad = {"bp": 10.0, "bp, one block": 9.0, MICRO: 50.0, MACRO: 45.0, "readout_only": 40.0}
    assert [check.holds for check in checks("words", rows(**bad))] == [
        True,
        True,
        False,
        False,
        False,
        False,
        False,
        False,
    ]
