"""The shallow experiments: what their tables and checks say of known answers, and small runs of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import cli
from experiments.papers.align_degeneracy import relu_checks, relu_row
from experiments.protocols.shallow_report import closest, comparison, early_row, phase_row
from experiments.sweeps.function_sweep import run_function_sweep
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError

CALLS: list[float] = []


def double(*, x: float) -> dict[str, float]:
    CALLS.append(x)
    if x < 0:
        raise ValueError("below\nzero")
    return {"twice": 2 * x}


def test_calls_are_made_once_and_kept(tmp_path: Path) -> None:
    setup = Setup(folder=tmp_path, workers=0)
    CALLS.clear()
    results = run_function_sweep(double, [{"x": 1.0}, {"x": 2.0}, {"x": 1.0}], setup, name="twice")
    assert results == [{"twice": 2.0}, {"twice": 4.0}, {"twice": 2.0}]
    assert run_function_sweep(double, [{"x": 2.0}, {"x": 3.0}], setup, name="twice") == [{"twice": 4.0}, {"twice": 6.0}]
    assert CALLS == [1.0, 2.0, 3.0]
    with pytest.raises(NeurofaError, match="below zero"):
        run_function_sweep(double, [{"x": -1.0}], setup, name="twice")


def test_comparisons_are_of_means_and_name_the_worst_run() -> None:
    error = {"simulated": [[9.0, 9.0], [1.1, 0.9], [2.0, 2.1]], "theory": [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]}
    answer = {"t": [1.0, 10.0, 20.0], "v_gap": {"theory": 0.1}, "error": error}
    rows = comparison("flow", "case", answer)
    assert [row["t"] for row in rows] == [10.0, 20.0]  # t = 1 is not compared
    assert [row["off"] for row in rows] == pytest.approx([0.0, 2.5])
    assert rows[1]["worst_run"] == pytest.approx(5.0)
    assert closest("flow", "case", rows, 2.6).holds
    assert not closest("flow", "case", rows, 2.4).holds


def test_early_ratio_is_weighted_by_the_law() -> None:
    answer = {"law": [1.0, 3.0], "simulated": [1.2, 2.9], "solved": [0.99], "alignment": [1.0, 0.5]}
    row = early_row("ideal", [answer, answer], 0.5)
    assert row["simulated_off"] == pytest.approx(2.5)
    assert row["solved_off"] == pytest.approx(-1.0)
    assert row["n"] == 4


def test_phases_count_only_what_converged() -> None:
    def line(error: float, agree: bool, alignment: list[float]) -> dict[str, object]:
        curves = {"t": [1.0, 2.0, 3.0][: len(alignment)], "error": [1.0, error], "alignment": alignment}
        return {**curves, "agree": agree, "entry": 2.0, "level": 0.1, "exit": None}

    row = phase_row("F", [line(1e-5, True, [0.5, 1.0]), line(0.1, False, [0.1, 0.8, 0.6])])
    assert (row["converged"], row["agree"], row["exit"]) == (50.0, 100.0, None)
    assert (row["peak"], row["peak_t"], row["final"]) == (pytest.approx(0.9), 2.0, pytest.approx(0.8))
    assert phase_row("F", [line(1e-5, False, [1.0])])["agree"] == 0.0
    assert phase_row("F", [line(0.1, True, [1.0])])["agree"] is None


def students(learnt: int, failed: int, *, right: int) -> dict[str, object]:
    """So many that learnt and failed, of which ``right`` did as their signs say."""
    truth = [True] * learnt + [False] * failed
    can = [ok if at < right else not ok for at, ok in enumerate(truth)]
    return {"error": [[1e-6 if ok else 0.25 for ok in truth]], "can": can}


def test_shares_are_held_against_the_formula() -> None:
    good = relu_checks([relu_row(1, 1, students(52, 48, right=100)), relu_row(1, 2, students(76, 24, right=96))])
    assert all(check.holds for check in good)
    few = relu_checks([relu_row(1, 1, students(30, 70, right=100)), relu_row(1, 2, students(76, 24, right=90))])
    assert [check.holds for check in few] == [False, True, False, True]
    blind = list(relu_checks([relu_row(1, 6, students(3, 0, right=3))]))
    assert not blind[-1].holds  # three students cannot tell the formulas apart


def test_small_runs_leave_results_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = "align_shallow(inputs=30, runs=1, early_runs=4, until=2, solved=1, horizon=20)"
    command = ["experiment", small, "--part", "flow", "early", "--workers", "0", "--out", str(tmp_path / "a"), "--json"]
    assert cli.run_command(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "a" / "result.json").read_text())
    assert {row["case"] for row in printed["rows"]} == {"dfa", "bp, label noise", "ideal", "feedback noise 1"}
    assert set(printed["columns"]["flow"]) <= set(printed["rows"][0])
    assert (tmp_path / "a" / "flow.png").read_bytes().startswith(b"\x89PNG")

    small = "align_degeneracy(runs=3, inputs=20, until=2, widths=[1, 2])"
    command = ["experiment", small, "--part", "relu", "--workers", "0", "--out", str(tmp_path / "b")]
    assert cli.run_command(command) == 0
    assert "M=2, K=2" in capsys.readouterr().out
    assert (tmp_path / "b" / "relu.png").read_bytes().startswith(b"\x89PNG")
    assert cli.run_command(["experiment", "align_degeneracy(runs=0)", "--out", str(tmp_path / "c")]) == 2
    assert "expected sizes >= 1" in " ".join(capsys.readouterr().err.split())
    assert cli.run_command(["experiment", "align_shallow(inputs=0)", "--out", str(tmp_path / "c")]) == 2
