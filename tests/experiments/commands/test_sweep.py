"""Sweeps: every run once, whatever happens to the process; tables and options of the command."""

from __future__ import annotations

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments import cli, tables
from experiments.commands._options import repeat_flags
from experiments.sweeps.rows import load_rows
from experiments.sweeps.sweep import spec_grid
from experiments.sweeps.workers import LostWorkerError, map_processes
from hwmodels.errors import NeurofaError

ROOT = Path(__file__).parents[3]
TINY = ["--network", "mlp(hidden=[16], activation=relu)", "--epochs", "1"]


def measures(folder: Path) -> dict[str, dict[str, Any]]:
    """What every run measured, apart from times."""
    rows: dict[str, dict[str, Any]] = {key: dict(row.result or {}) for key, row in load_rows(folder).items()}
    for row in rows.values():
        for epoch in row.pop("metrics"):
            del epoch["seconds"]
        del row["seconds"], row["samples_per_second"]
    return rows


def begin(folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """A sweep in a process group of its own."""
    words = [sys.executable, "-m", "experiments.cli", "sweep", *TINY, *options, "--out", str(folder)]
    return subprocess.Popen(
        words, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(condition, seconds: float = 120.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def group_is_gone(group: int) -> bool:
    """Whether no process of the group runs; one that has ended and waits to be noticed does not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, found = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(found) == group and state not in "ZX":
            return False
    return True


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_killed_sweep_goes_on_and_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    options = ["--rule", "bp", "dfa", "--seeds", "20"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = begin(killed, options)
    assert not group_is_gone(process.pid)
    assert wait_for(lambda: len(list(killed.glob("rows/*.json"))) >= 2 or process.poll() is not None)
    process.kill()
    process.wait()
    assert wait_for(lambda: group_is_gone(process.pid), 20), "workers outlived the process that started them"
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in killed.glob("rows/*.json")}
    assert 2 <= len(before) < 40

    assert cli.run_command(["sweep", *TINY, *options, "--out", str(killed)]) == 0
    assert cli.run_command(["sweep", *TINY, *options, "--out", str(whole), "--workers", "0"]) == 0
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in killed.glob("rows/*.json")}
    assert len(after) == 40
    assert {name: after[name] for name in before} == before, "a finished run was done again"
    assert measures(killed) == measures(whole)


def test_failed_runs_are_rows_and_are_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", *TINY, "--optimizer", "sgd(lr=0.1)", "sgd(lr=1e30)", "--out", str(tmp_path), "--workers", "0"]
    assert cli.run_command(command) == 1
    told = capsys.readouterr()
    assert told.err.count("failed: dfa, seed 0: got NaN") == 1
    rows = load_rows(tmp_path)
    assert sorted(row.done for row in rows.values()) == [False, True]
    bad = next(row for row in rows.values() if not row.done)
    assert bad.error is not None
    assert "\n" not in bad.error

    # the good run is made to look failed, and the bad one to look old
    good = next(row for row in rows.values() if row.done)
    for row in rows.values():
        planted = {"key": row.key, "spec": dict(row.spec), "result": None, "error": "planted"}
        (tmp_path / "rows" / f"{row.key}.json").write_text(json.dumps(planted))
    assert cli.run_command(command) == 1
    again = load_rows(tmp_path)
    assert again[good.key].done
    assert again[bad.key].error == bad.error


def test_json_and_csv_of_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, file = tmp_path / "out", tmp_path / "rows.csv"
    assert (
        cli.run_command(["sweep", *TINY, "--rule", "bp", "readout_only", "--out", str(out), "--workers", "0", "--json"])
        == 0
    )
    swept = json.loads(capsys.readouterr().out)
    assert [row["rule"] for row in swept] == ["bp", "readout_only"]
    assert cli.run_command(["results", str(out), "--json", "--csv", str(file)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert sorted(row["key"] for row in shown) == sorted(row["key"] for row in swept)
    for row in shown:
        assert row["status"] == "done"
        assert row["seed"] == 0
        assert row["objective"] == "cross_entropy"
        assert 0 < row["test_accuracy"] < 1
        assert row["loss"] > 0
    with file.open(newline="") as lines:
        assert [line["rule"] for line in csv.DictReader(lines)] == [row["rule"] for row in shown]
    assert cli.run_command(["results", str(out)]) == 0
    assert "readout_only" in capsys.readouterr().out


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rule", "bp", "dfaa"], "did you mean 'dfa'"),
        (["--device", "fixed(bits=-3)"], "bits=-3"),
        (["--rule", "dfa("], "spec"),
        (["--workers", "-1"], "workers"),
        (["--data", "digitz"], "did you mean 'digits'"),
    ],
)
def test_wrong_input_is_refused_before_any_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert cli.run_command(["sweep", *words, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_results_of_no_sweep_and_damaged_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(["results", str(tmp_path)]) == 2
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.json").write_text('{"key": "a"}')
    assert cli.run_command(["results", str(tmp_path)]) == 2
    assert "a.json" in capsys.readouterr().err


def test_one_flag_takes_several_values() -> None:
    lists = ["--rule", "--device"]
    words = ["--rule", "bp", "dfa", "--out", "x", "--device=digital", "fixed(bits=4)", "--rule", "fa", "--json"]
    repeated = "--rule bp --rule dfa --out x --device=digital --device fixed(bits=4) --rule fa --json"
    assert repeat_flags(words, lists) == repeated.split()


def test_a_grid_is_every_combination_once() -> None:
    specs = spec_grid({"rule": ["bp", "dfa"], "device": ["digital", "fixed(bits=4)"], "seed": range(3)})
    assert len({spec.key for spec in specs}) == 12
    with pytest.raises(NeurofaError, match="rool"):
        spec_grid({"rool": ["bp"]})


@pytest.mark.long
def test_a_lost_worker_costs_only_what_was_under_way() -> None:
    # raise_signal(0) does nothing and returns None; raise_signal(9) ends the worker
    answers = list(map_processes(signal.raise_signal, [0, 9, 0, 0], workers=1, threads=1))
    assert [item for item, _ in answers] == [0, 9, 0, 0]
    assert [type(answer) for _, answer in answers] == [type(None), LostWorkerError, type(None), type(None)]


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 1])
def test_exceptions_of_a_worker_come_back(workers: int) -> None:
    ((item, answer),) = map_processes(os.listdir, ["/no such folder"], workers=workers, threads=1)
    assert item == "/no such folder"
    assert isinstance(answer, FileNotFoundError)


def test_means_and_spreads() -> None:
    values = [0.91, 0.93, 0.98]
    records = [{"rule": "dfa", "seed": i, "status": "done", "test_accuracy": x} for i, x in enumerate(values)]
    records += [{"rule": "bp", "seed": 0, "status": "failed"}]
    dfa, bp = tables.summarise_runs(records, ["rule"])
    assert dfa["test_accuracy"] == pytest.approx(statistics.mean(values))
    assert dfa["test_accuracy_std"] == pytest.approx(statistics.stdev(values))
    assert (dfa["n"], dfa["failed"], bp["n"], bp["failed"]) == (3, 0, 0, 1)
    assert bp["test_accuracy"] is None
    assert tables.standard_deviation([1.0]) is None
    assert tables.varying_columns(records, ["rule", "status", "nothing"]) == ["rule", "status"]
    assert tables.percent_text(0.978, 0.0012) == "97.80 ± 0.12"
