"""A run: its folder, its figures, the same numbers again, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from experiments.cli import run_command as command
from experiments.runs.build import build_network, load_data
from experiments.runs.default_network import with_network
from experiments.runs.progress import Progress
from experiments.runs.run import Interrupted, RunSpec, train_run
from experiments.runs.spec import canonical
from hwmodels.errors import NeurofaError
from neurofa.training.loop.tally import Score

SMALL = RunSpec(data="digits(subset=200)", network="mlp(hidden=[24])", epochs=3)
FLAGS = ["--data", "digits(subset=200)", "--network", "mlp(hidden=[24])", "--epochs", "3"]


def rows(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in found:
        assert row.pop("seconds") > 0
        row.pop("log_seconds", None)
    return found


class Stop(Progress):
    """Presses Ctrl-C after some glances at the run."""

    def __init__(self, after: int) -> None:
        self.left = after

    def step(self, samples: int, score: Score) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.long
def test_the_folder_holds_what_it_should(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert command(["train", *FLAGS, "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "result.json").read_text())
    for key in ("test_accuracy", "validation_accuracy", "train_accuracy", "control_test_accuracy"):
        assert 0 < printed[key] <= 1
    assert printed["epochs"] == 3
    assert printed["seconds"] > 0
    assert printed["samples_per_second"] == pytest.approx(3 * 200 / printed["seconds"], rel=0.01)
    assert printed["loss"] > 0
    assert RunSpec.from_json(printed["spec"]) == SMALL
    assert printed["key"] == SMALL.key
    about = json.loads((out / "run.json").read_text())
    assert about["spec"] == printed["spec"]
    assert about["seed"] == 0
    assert about["threads"] == torch.get_num_threads()
    assert about["versions"]["torch"] == torch.__version__
    assert {"neurofa", "numpy", "python"} <= set(about["versions"])
    assert about["data"]["origin"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [row["epoch"] for row in rows(out)] == [1, 2, 3]
    keys = {"epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr"}
    assert set(rows(out)[0]) == keys
    assert not list(tmp_path.rglob("*.part"))

    assert command(["evaluate", str(out), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert score["accuracy"] == printed["test_accuracy"]
    assert score["loss"] == pytest.approx(printed["test_loss"])
    assert command(["evaluate", str(out), "--split", "validation"]) == 0
    assert f"{printed['validation_accuracy']:.2%}" in capsys.readouterr().out


@pytest.mark.long
def test_the_table_shows_the_control_and_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["train", *FLAGS, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    for words in ("dfa", "readout_only", "margin over the readout-only control", str(tmp_path / "run" / "curves.png")):
        assert words in said.out.replace("\n", "")
    assert "loss" in said.err


@pytest.mark.long
def test_no_control_where_none_is_wanted_or_none_makes_sense(tmp_path: Path) -> None:
    assert command(["train", *FLAGS, "--out", str(tmp_path / "a"), "--no-control", "-q"]) == 0
    assert command(["train", *FLAGS, "--out", str(tmp_path / "b"), "--rule", "readout_only", "-q"]) == 0
    for name in "ab":
        assert "control_test_accuracy" not in json.loads((tmp_path / name / "result.json").read_text())
        assert not (tmp_path / name / "control").exists()


def test_a_run_without_epochs_holds_the_network_as_it_is_built(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert command(["train", *FLAGS[:4], "--epochs", "0", "--out", str(out), "--quiet"]) == 0
    assert not (out / "control").exists()
    built = build_network(replace(SMALL, epochs=0), load_data(SMALL.data)).state_dict()
    assert all(torch.equal(built[key], value) for key, value in load_file(out / "model.safetensors").items())
    assert command(["evaluate", str(out)]) == 0
    assert command(["train", "--resume", "--out", str(out), "--quiet"]) == 0
    assert command(["export", str(out), "--format", "hdf5", "--out", str(tmp_path / "file")]) == 0
    result = json.loads((out / "result.json").read_text())
    assert (result["epoch"], result["loss"]) == (0, None)
    assert result["test_accuracy"] > 0
    assert command(["train", *FLAGS[:4], "--epochs", "0", "--select", "best", "--out", str(tmp_path / "best")]) == 2


@pytest.mark.long
def test_defaults_beat_the_control_on_several_seeds() -> None:
    for seed in range(3):
        result = train_run(RunSpec(seed=seed), control=True)
        assert result.margin is not None
        assert result.margin > 0.01
        assert result.test_accuracy is not None
        bp = train_run(RunSpec(seed=seed, rule="bp")).test_accuracy
        assert bp is not None
        assert abs(bp - result.test_accuracy) < 0.02


CASES = [
    SMALL,
    replace(SMALL, network="mlp(hidden=[24], dropout=0.2)", optimizer="sgd(lr=0.02, momentum=0.9)", schedule="cosine"),
    replace(SMALL, rule="brsf", optimizer="adam(lr=0.003)", accumulate=3, clip=1.0),
    replace(SMALL, rule="weight_mirror", device="fixed(bits=6, rounding=stochastic)", optimizer="sgd(lr=0.05)"),
    replace(SMALL, rule="kp", network="mlp(hidden=[24], norm=batch)", schedule="step(every=1, factor=0.5)"),
    replace(SMALL, rule="dkp", optimizer="rmsprop(lr=0.001)", select="best", log="alignment"),
]


@pytest.mark.sample(1)
@pytest.mark.parametrize("spec", CASES, ids=lambda spec: spec.rule + spec.optimizer)
def test_same_numbers_again_and_across_an_interruption(spec: RunSpec, tmp_path: Path) -> None:
    whole = train_run(spec, tmp_path / "whole")
    train_run(spec, tmp_path / "again")
    assert rows(tmp_path / "again") == rows(tmp_path / "whole")

    with pytest.raises(Interrupted):
        train_run(spec, tmp_path / "stopped", progress=Stop(after=2))
    assert not (tmp_path / "stopped" / "result.json").exists()
    assert len(rows(tmp_path / "stopped")) == 1
    resumed = train_run(spec, tmp_path / "stopped", resume=True)
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    assert (resumed.test_accuracy, resumed.test_loss) == (whole.test_accuracy, whole.test_loss)
    whole_model, model = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert model.keys() == whole_model.keys()
    assert all(torch.equal(model[key], whole_model[key]) for key in model)


def test_another_seed_gives_other_numbers() -> None:
    assert train_run(SMALL).test_loss != train_run(replace(SMALL, seed=1)).test_loss


@pytest.mark.long
def test_a_run_stopped_in_its_first_epoch_or_in_its_control_can_be_resumed(tmp_path: Path) -> None:
    whole = train_run(SMALL, tmp_path / "whole", control=True)
    for name, after in (("first", 1), ("control", 5)):
        with pytest.raises(Interrupted):
            train_run(SMALL, tmp_path / name, control=True, progress=Stop(after=after))
        resumed = train_run(SMALL, tmp_path / name, control=True, resume=True)
        assert resumed.margin == whole.margin
        assert rows(tmp_path / name) == rows(tmp_path / "whole")
        assert rows(tmp_path / name / "control") == rows(tmp_path / "whole" / "control")


@pytest.mark.long
def test_ctrl_c_on_the_command(tmp_path: Path) -> None:
    out, flags = tmp_path / "run", ["--data", "digits(subset=200)", "--network", "mlp(hidden=[8])", "--epochs", "200"]
    words = [sys.executable, "-m", "experiments.cli", "train", *flags, "--threads", "1", "--out", str(out)]
    pipe, root = subprocess.PIPE, Path(__file__).parents[3]
    process = subprocess.Popen([*words, "--no-control"], stderr=pipe, stdout=pipe, text=True, cwd=root)
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"neurofa train --resume --out {out}" in said[1]
    assert "Traceback" not in said[1]
    assert 0 < len(rows(out)) < 200
    assert command(["train", "--resume", "--out", str(out), "-q"]) == 0
    spec = RunSpec(data="digits(subset=200)", network="mlp(hidden=[8])", epochs=200)
    train_run(spec, tmp_path / "whole")
    assert rows(out) == rows(tmp_path / "whole")


@pytest.mark.long
def test_resuming_a_finished_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert command(["train", *FLAGS, *out, "--json"]) == 0
    first = capsys.readouterr().out
    before = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    assert command(["train", "--resume", *out, "--json"]) == 0
    assert capsys.readouterr().out == first
    assert command(["train", "--resume", *out]) == 0
    assert "finished run of 3 epochs" in capsys.readouterr().err
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == before


@pytest.mark.long
def test_a_folder_that_holds_a_run_is_not_overwritten_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run"), "--no-control", "-q"]
    assert command(["train", *FLAGS, *out]) == 0
    assert command(["train", *FLAGS, *out]) == 2
    assert "holds a finished run" in capsys.readouterr().err
    assert command(["train", "--resume", "--rule", "fa", *out]) == 2
    assert "rule=fa" in capsys.readouterr().err
    assert command(["train", "--resume", "--epochs", "4", *out]) == 2
    assert "epochs=4" in capsys.readouterr().err
    assert command(["train", *FLAGS, "--rule", "fa", "--overwrite", *out]) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["spec"]["rule"] == "fa"


@pytest.mark.long
def test_the_default_folder_takes_the_same_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert command(["train", *FLAGS, "--no-control", "-q"]) == 0
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == [SMALL.folder_name]
    assert SMALL.folder_name.startswith("digits-mlp-dfa-0-")


@pytest.mark.long
def test_select_best_reports_the_best_epoch_by_validation(tmp_path: Path) -> None:
    # the rate is so high at the end that the last epoch is not the best one
    spec = replace(SMALL, epochs=6, optimizer="sgd(lr=0.05)", schedule="exponential(factor=3.5)", select="best")
    best = train_run(spec, tmp_path / "run")
    accuracies = [row["validation_accuracy"] for row in best.rows]
    assert best.epoch == accuracies.index(max(accuracies)) + 1
    assert best.epoch < 6
    last = train_run(replace(spec, select="last"))
    assert last.rows[-1]["validation_accuracy"] == accuracies[-1]
    assert last.test_loss != best.test_loss
    stopped_there = train_run(replace(spec, epochs=best.epoch, select="last"))
    assert best.test_loss == stopped_there.test_loss


@pytest.mark.long
def test_regression_has_losses_and_no_accuracies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = "teacher(n_in=10, hidden=[8], classes=2, samples=300, validation=50, test=50, task=regression)"
    flags = ["train", "--data", data, "--loss", "mse", "--optimizer", "sgd(lr=0.05)", "--epochs", "2"]
    assert command([*flags, "--out", str(tmp_path / "run"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [result[key] for key in ("test_accuracy", "validation_accuracy", "train_accuracy")] == [None] * 3
    assert result["loss"] > 0
    assert rows(tmp_path / "run")[1]["train_loss"] < rows(tmp_path / "run")[0]["train_loss"]
    assert (tmp_path / "run" / "curves.png").is_file()


@pytest.mark.long
def test_the_logged_alignment_is_in_every_row_and_changes_nothing(tmp_path: Path) -> None:
    train_run(SMALL, tmp_path / "without")
    train_run(replace(SMALL, log="alignment"), tmp_path / "with")
    logged = rows(tmp_path / "with")
    for row in logged:
        assert -1 <= row.pop("alignment")["total"]["cosine"] <= 1
        assert row.pop("step") == 7 * row["epoch"]
        assert row.pop("measurements")
    assert logged == rows(tmp_path / "without")


def test_the_rate_follows_its_schedule(tmp_path: Path) -> None:
    train_run(replace(SMALL, optimizer="sgd(lr=0.1)", schedule="cosine(warmup=1)"), tmp_path / "run")
    steps = 7  # of an epoch: 200 samples, 32 at a time
    rates = [row["lr"] for row in rows(tmp_path / "run")]
    assert rates[0] == pytest.approx(0.1 * (1 - 0.5 / steps))
    assert rates[0] > rates[1] > rates[2] > 0


def test_one_key_for_one_run() -> None:
    spec = RunSpec(rule="dfa(error=ternary, feedback=dense)")
    assert spec == RunSpec(rule=" dfa(feedback=dense,error = ternary)")
    assert spec.key == RunSpec.from_json(json.loads(json.dumps(spec.to_json()))).key
    keys = {replace(spec, **change).key for change in ({"seed": 1}, {"epochs": 9}, {"rule": "fa"}, {"clip": 1.0})}
    assert len(keys | {spec.key}) == 5
    assert canonical("a(z=1, b=c(y=2, x=[d(q=1, p=2)]))") == "a(b=c(x=[d(p=2, q=1)], y=2), z=1)"


def test_a_diverging_run_is_refused_not_reported() -> None:
    with pytest.raises(NeurofaError, match="lower the learning rate"):
        train_run(replace(SMALL, network="mlp(hidden=[24], activation=relu)", optimizer="sgd(lr=1e9)", loss="mse"))


def test_sequences_without_a_network_get_a_spiking_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--data", "encoded(data=digits(subset=32), ticks=3)", "--epochs", "1", "--no-control"]
    assert command([*words, "--out", str(tmp_path / "run")]) == 0
    assert "network snn: for the sequences of encoded" in capsys.readouterr().err
    assert json.loads((tmp_path / "run/run.json").read_text())["spec"]["network"] == "snn"
    # one that is named is taken, whatever it is
    assert with_network({"data": "encoded", "network": "mlp"})["network"] == "mlp"
    assert "network" not in with_network({"data": "digits"})
    assert "network" not in with_network({})


def test_a_sweep_over_sequences_wants_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["sweep", "--data", "digits", "shd", "--out", str(tmp_path / "s")]) == 2
    assert "got data 'shd', which are sequences, without a network" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
