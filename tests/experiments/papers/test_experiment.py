"""Experiments: tuning on validation data, the checks, and what result.json holds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest

from experiments import cli
from experiments.papers.fixed_feedback import TARGETS, FixedFeedback
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import above, at_least, at_most
from experiments.sweeps.rows import SweepRow, load_rows
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Study, run_study
from hwmodels.errors import NeurofaError
from hwmodels.registry import parts

SMALL = "fixed_feedback(digits=digits, epochs=1, tuning_epochs=1)"


def study() -> Study:
    tiny = {"network": "mlp(hidden=[16], activation=relu)"}
    return Study(
        common={"data": "digits", "epochs": 2, "batch_size": 64},
        methods={
            # a step so small that nothing is learnt, one that learns, and one that diverges
            "dfa": [{**tiny, "rule": "dfa", "optimizer": f"sgd(lr={lr})"} for lr in ("1e-06", "0.3", "1e+30")],
            "readout_only": [{**tiny, "rule": "readout_only", "optimizer": "sgd(lr=0.01)"}],
        },
        tuning_epochs=1,
        control="readout_only",
    )


def test_a_study_chooses_on_validation_data_and_reports_on_test(tmp_path: Path) -> None:
    found = run_study(study(), Setup(folder=tmp_path, seeds=2, workers=0), name="part")
    dfa, control = found.lines
    assert dfa["optimizer"] == "sgd(lr=0.3)"
    scores = {line["optimizer"]: line["validation_accuracy"] for line in found.tuning}
    assert list(scores) == ["sgd(lr=1e-06)", "sgd(lr=0.3)", "sgd(lr=1e+30)"]
    assert scores["sgd(lr=0.3)"] == max(score for score in scores.values() if score is not None)
    assert scores["sgd(lr=1e+30)"] is None

    rows = [row.flat() for row in load_rows(tmp_path).values() if row.done]
    runs = {
        rule: sorted((r for r in rows if r["rule"] == rule and r["epochs"] == 2), key=lambda r: r["seed"])
        for rule in ("dfa", "readout_only")
    }
    assert [run["seed"] for run in runs["dfa"]] == [0, 1]
    ours, theirs = ([run["test_accuracy"] for run in runs[rule]] for rule in ("dfa", "readout_only"))
    assert dfa["test_accuracies"] == ours
    assert dfa["test_accuracy"] == pytest.approx(statistics.mean(ours))
    assert dfa["margin"] == pytest.approx(statistics.mean(a - b for a, b in zip(ours, theirs, strict=True)))
    assert control["margin"] is None


@pytest.mark.parametrize(("by_loss", "best"), [(False, 0), (True, 1)])
def test_a_study_chooses_by_loss_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_loss: bool, best: int
) -> None:
    measured = [
        {"validation_accuracy": 0.9, "validation_loss": 2.0},
        {"validation_accuracy": 0.8, "validation_loss": 1},
    ]

    def rows(specs: Sequence[RunSpec], *_: object, **__: object) -> list[SweepRow]:
        outcomes = measured if len(specs) > 1 else [{"test_loss": 1.0, "epochs": 1}]
        return [
            SweepRow(key=spec.key, spec=spec.to_json(), result=outcome)
            for spec, outcome in zip(specs, outcomes, strict=True)
        ]

    monkeypatch.setattr("experiments.sweeps.study.run_sweep", rows)
    candidates = [{"rule": "bp", "optimizer": f"sgd(lr={lr})"} for lr in (0.1, 0.2)]
    tuned = Study(common={"data": "digits"}, methods={"bp": candidates}, tuning_epochs=1, by_loss=by_loss)
    (line,) = run_study(tuned, Setup(folder=tmp_path, seeds=1, workers=0), name="part").lines
    assert line["optimizer"] == candidates[best]["optimizer"]


def test_a_method_without_a_setting_that_runs_is_refused(tmp_path: Path) -> None:
    only = {"rule": "bp", "network": "mlp(hidden=[4], activation=relu)", "optimizer": "sgd(lr=1e+30)"}
    for candidates in ([only, {**only, "optimizer": "sgd(lr=1e+31)"}], [only]):
        bad = Study(common={"epochs": 1}, methods={"bp": candidates}, tuning_epochs=1)
        with pytest.raises(NeurofaError, match="NaN"):
            run_study(bad, Setup(folder=tmp_path, seeds=1, workers=0), name="part")
    with pytest.raises(NeurofaError, match="control"):
        Study(common={}, methods={"bp": [only]}, tuning_epochs=1, control="readout_only")


@pytest.mark.long
def test_the_command_leaves_a_result_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["experiment", SMALL, "--part", "bits", "--seeds", "2", "--workers", "0", "--out", str(tmp_path)]
    assert cli.run_command([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "result.json").read_text())
    assert printed == written
    assert written["experiment"] == "fixed_feedback"
    assert written["question"]
    assert written["parts"] == ["bits"]
    assert [row["method"] for row in written["rows"]] == [
        "float",
        "4 bits, stochastic",
        "4 bits, nearest",
        "4 bits, nearest, lr 0.03",
    ]
    for row in written["rows"]:
        assert row["n"] == 2
        assert row["test_accuracy"] == pytest.approx(statistics.mean(row["test_accuracies"]))
        tried = [t for t in written["tuning"] if t["method"] == row["method"]]
        if tried:  # one candidate alone is not tried first
            best = max(tried, key=lambda t: t["validation_accuracy"])
            assert row["optimizer"] == best["optimizer"]
    assert {t["method"] for t in written["tuning"]} == {"float", "4 bits, stochastic", "4 bits, nearest"}
    for check in written["checks"]:
        assert set(check) == {"name", "value", "target", "holds"}
    for figure in written["reference"]:
        assert set(figure) == {"name", "value", "source", "certainty"}
    assert written["pictures"] == ["bits.png"]
    assert (tmp_path / "bits.png").read_bytes().startswith(b"\x89PNG")

    # the second time nothing is left to do, and the tables are printed
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("rows/*.json")}
    assert cli.run_command(command) == 0
    assert "4 bits, nearest" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("rows/*.json")} == times


def lines(**accuracies: float) -> list[dict[str, object]]:
    control = accuracies["readout_only"]
    return [
        {"method": method, "test_accuracy": x, "margin": None if method == "readout_only" else x - control}
        for method, x in accuracies.items()
    ]


def test_checks_follow_the_figures() -> None:
    good = {"bp": 0.985, "fa": 0.977, "dfa": 0.979, "tdfa": 0.98, "kp": 0.983, "drtp": 0.945, "readout_only": 0.953}
    made = {check.name: check for check in FixedFeedback().checks("mnist", lines(**good))}
    assert made["mnist: bp test accuracy, %"].holds
    assert made["mnist: distance of kp from bp, points"].value == pytest.approx(0.2)
    tied = {check.name: check for check in FixedFeedback().checks("mnist", lines(**{**good, "drtp": 0.1 + 0.853}))}
    assert not tied["mnist: margin of drtp over readout_only, points"].holds
    assert made["mnist: distance of kp from bp, points"].holds
    assert not made["mnist: margin of drtp over readout_only, points"].holds
    assert made["mnist: margin of dfa over readout_only, points"].value == pytest.approx(2.6)
    worse = {
        check.name: check for check in FixedFeedback().checks("mnist", lines(**{**good, "dfa": 0.97, "kp": 0.981}))
    }
    assert not worse["mnist: dfa test accuracy, %"].holds
    assert not worse["mnist: distance of kp from bp, points"].holds


def test_every_target_is_checked_and_bounds_are_meant_as_written() -> None:
    for part, targets in TARGETS.items():
        filled = lines(
            **dict.fromkeys([*targets, "kp", "4 bits, nearest", "4 bits, nearest, lr 0.03", "readout_only"], 0.5)
        )
        names = [check.name for check in FixedFeedback().checks(part, filled)]
        assert all(f"{part}: {method} test accuracy, %" in names for method in targets)
    assert at_least("x", 1.0, 1.0).holds
    assert at_most("x", 1.0, 1.0).holds
    assert not above("x", 1.0, 1.0).holds
    assert not any(check("x", None, 0.0).holds for check in (at_least, at_most, above))


def test_experiments_are_registered_and_refuse_unknown_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parts("experiment")["fixed_feedback"] is FixedFeedback
    assert cli.run_command(["experiment", SMALL, "--part", "mnsit", "--out", str(tmp_path / "x")]) == 2
    assert "did you mean 'mnist'" in capsys.readouterr().err
    assert cli.run_command(["experiment", "fixed_feedbak", "--out", str(tmp_path / "x")]) == 2
    assert "did you mean 'fixed_feedback'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_missing_data_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROFA_DATA", str(tmp_path / "nowhere"))
    assert cli.run_command(["experiment", "fixed_feedback", "--part", "mnist", "--out", str(tmp_path / "x")]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("neurofa: got")]
    assert len(told) == 1
    assert "nowhere" in told[0]


def test_every_experiment_says_how_its_full_size_differs_from_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    own = [name for name, made in parts("experiment").items() if made.__module__.startswith("experiments.")]
    assert cli.run_command(["list", "experiment", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)["experiment"]}
    assert len(own) > 20
    for name in own:
        assert len(listed[name].get("differs", "")) > 30, name
    assert "`--full` is the protocol" not in (Path(__file__).parents[3] / "README.md").read_text()
