"""Runs made to fail in every way, and one that does not: what the diagnosis says of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.cli import run_command as command
from experiments.runs.run import RunSpec, train_run

FINE = RunSpec(data="digits(validation=500)", network="mlp(hidden=[48, 48])", epochs=6, log="alignment")
CONV = "cnn(channels=[6], kernel=3, hidden=32, activation=tanh)"
DEEP = f"mlp(hidden={[24] * 10}, activation=sigmoid)"

FAILURES: dict[str, tuple[dict[str, object], str, str]] = {
    # what is changed, the layer that fails, the first cause
    "small gain": ({"rule": "dfa(feedback=dense(gain=0.001))"}, "dense1", "gain too small"),
    "large gain": ({"rule": "dfa(feedback=dense(gain=10000))"}, "dense1", "gain too large"),
    "small rate": ({"optimizer": "sgd(lr=0.0001)", "epochs": 1}, "dense1", "training"),
    "thin feedback": ({"rule": "dfa(feedback=sparse(density=0.004))"}, "dense1", "conditioning"),
    "narrow layer": ({"network": "mlp(hidden=[48, 4, 48])", "epochs": 4}, "dense1", "conditioning"),
    "convolution": (
        {"network": CONV, "optimizer": "sgd(lr=0.03)", "feedback_scale": "fixed", "epochs": 3},
        "conv2d0",
        "convolution",
    ),
    "deep sigmoids": ({"network": DEEP, "epochs": 1}, "dense1", "vanished"),
}


def diagnosed(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert command(["diagnose", str(folder), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (folder / "diagnosis.png").read_bytes().startswith(b"\x89PNG")
    return found


def layer(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in found["layers"] if each["name"] == name)


@pytest.mark.long
def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # narrow, so that random features leave something to learn
    train_run(replace(FINE, network="mlp(hidden=[24, 24])", log="all"), tmp_path / "run", control=True)
    found = diagnosed(tmp_path / "run", capsys)
    assert [each["state"] for each in found["layers"]] == ["aligned", "aligned"]
    assert not any(each["causes"] for each in found["layers"])
    assert layer(found, "dense2")["probe"]["verdict"] == "better"
    assert found["summary"][0] == "All hidden layers aligned."
    assert any("learnt something useful: " in said for said in found["summary"])
    assert found["margin"] > 0.02
    assert all(bound["value"] and bound["source"] for bound in found["thresholds"].values())
    assert command(["diagnose", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "All hidden layers aligned." in printed
    assert "diagnosis.png" in printed
    # training anew takes the old picture away
    train_run(replace(FINE, epochs=1), tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "diagnosis.png").exists()


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_is_told_from_the_others(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, where, cause = FAILURES[name]
    train_run(replace(FINE, **change), tmp_path / "run")  # type: ignore[arg-type]
    found = diagnosed(tmp_path / "run", capsys)
    failed = layer(found, where)
    assert failed["state"] != "aligned"
    assert [each["name"] for each in failed["causes"]] == [cause]
    assert any(said.startswith(f"{where}: {cause}: ") for said in found["summary"])
    if cause in ("gain too small", "training"):
        assert failed["probe"]["verdict"] == "same"
        assert any(said.startswith("No hidden layer learnt") for said in found["summary"])


@pytest.mark.long
def test_what_stands_above_a_convolution_aligns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = replace(FINE, network=CONV, optimizer="sgd(lr=0.1)", epochs=5)
    train_run(spec, tmp_path / "run")
    found = diagnosed(tmp_path / "run", capsys)
    below, above = found["layers"]
    assert below["gradient_alignment"]["peak"] < 0.1 < 0.3 <= above["gradient_alignment"]["peak"]
    # 3x3 kernels on 8x8 pixels: 3 / sqrt(64 * 64)
    assert below["reachable_cosine"] == pytest.approx(3 / 64)
    assert above["reachable_cosine"] is None


@pytest.mark.long
def test_gain_is_not_judged_where_the_optimizer_rescales_updates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "dfa(feedback=dense(gain=0.0001))"
    train_run(replace(FINE, rule=small, optimizer="adam(lr=0.003)"), tmp_path / "run")
    found = diagnosed(tmp_path / "run", capsys)
    assert [each["travel"] for each in found["layers"]] == [None, None]
    assert [each["state"] for each in found["layers"]] == ["aligned", "aligned"]


def test_rules_that_leave_hidden_layers_alone_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_run(replace(FINE, rule="readout_only", epochs=1), tmp_path / "run")
    found = diagnosed(tmp_path / "run", capsys)
    assert [each["state"] for each in found["layers"]] == ["no learning", "no learning"]
    assert found["summary"] == ["Rule readout_only leaves all hidden layers as they are: nothing can align."]


def test_runs_without_measurements_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_run(replace(FINE, epochs=1, log="none"), tmp_path / "run")
    flags = ["train", "--data", "digits(subset=64)", "--epochs", "1", "--log", "alignment", "--no-control"]
    command([*flags, "--out", str(tmp_path / "logged")])
    told = capsys.readouterr().out.replace("\n", "")
    assert f"neurofa diagnose {tmp_path / 'logged'}" in told
    for folder, words in ((tmp_path / "run", "train with --log all"), (tmp_path / "none", "without run.json")):
        assert command(["diagnose", str(folder)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert words in said.err
    (tmp_path / "run" / "result.json").unlink()
    assert command(["diagnose", str(tmp_path / "run")]) == 2
    assert "unfinished" in capsys.readouterr().err
