"""Runs in trouble say so: divergence, silent neurons, batches of one sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import cli
from experiments.runs.divergence import LIMIT, DivergedError, GrowthWatch, LossWatch
from experiments.runs.progress import Progress
from experiments.runs.run import train_run
from experiments.runs.spec import RunSpec
from experiments.sweeps.rows import load_rows
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

SMALL: dict[str, Any] = {
    "data": "digits(subset=200, validation=50)",
    "network": "mlp(hidden=[8], activation=relu)",
    "batch_size": 20,
}
WILD: dict[str, Any] = {**SMALL, "epochs": 4, "rule": "dfa", "optimizer": "sgd(lr=20.0)"}
"""Finite for some epochs, and far above the first loss."""


class Notes(Progress):
    """Keeps what a user is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def notice(self, text: str) -> None:
        self.told.append(text)


def rows_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_that_diverges_ends_early_and_says_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"got a training loss of .* times the first .* lower the learning rate"):
        train_run(RunSpec(**WILD), tmp_path / "run")
    assert rows_of(tmp_path / "run")[-1] == {"epoch": 1, "diverged": True}
    assert not (tmp_path / "run" / "result.json").exists()


def test_the_layer_that_grew_is_named_with_a_smaller_rate() -> None:
    with pytest.raises(
        DivergedError, match=r"of layer 'dense\d' grew most, [\d.e+]+ times a step .* try --optimizer 'sgd"
    ):
        train_run(RunSpec(**WILD))
    growth = GrowthWatch(network := build("network", "mlp(hidden=[3, 3])", input_shape=(4,), outputs=2))
    with torch.no_grad():
        network.layer("dense1").synapses["weight"].weight.mul_(64)
        network.layer("dense1").synapses["bias"].weight.mul_(64)
    assert growth.growth(3).startswith("the weights of layer 'dense1' grew most, 4 times a step over the last 3")
    growth.see(3)
    assert growth.growth(4) == ""


def test_a_run_that_ends_in_numbers_that_are_none_has_diverged_too() -> None:
    with pytest.raises(DivergedError, match=r"\(the run has diverged\)"):
        train_run(RunSpec(**{**WILD, "optimizer": "sgd(lr=1e30)"}))


def test_finished_epochs_of_a_run_that_diverges_later_are_kept(tmp_path: Path) -> None:
    # the rate rises during the first epochs
    spec = RunSpec(**{**WILD, "optimizer": "sgd(lr=30.0)", "schedule": "constant(warmup=300)", "epochs": 100})
    with pytest.raises(DivergedError):
        train_run(spec, tmp_path)
    rows = rows_of(tmp_path)
    assert len(rows) > 2
    assert rows[-1] == {"epoch": len(rows), "diverged": True}
    assert all("train_loss" in row for row in rows[:-1])
    # the same again from the last finished epoch
    with pytest.raises(DivergedError):
        train_run(spec, tmp_path, resume=True)
    again = rows_of(tmp_path)
    assert again == rows


def test_the_command_ends_with_an_error_and_sweeps_mark_the_row(tmp_path: Path, capsys) -> None:
    words = [f"--{key.replace('_', '-')}={value}" for key, value in WILD.items()]
    assert cli.run_command(["train", *words, "--out", str(tmp_path / "run"), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "the run has diverged; expected a loss that falls" in told
    sweep = ["sweep", *words, "--seeds", "1", "--out", str(tmp_path / "sweep"), "--workers", "0"]
    assert cli.run_command(sweep) == 1
    assert [row.flat()["status"] for row in load_rows(tmp_path / "sweep").values()] == ["diverged"]


def test_a_control_that_diverges_does_not_take_the_run_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, notes = LossWatch.see, Notes()

    def spoilt(self: LossWatch, mean: float, samples: int, epoch: int) -> None:
        seen(self, mean * (1e4 if runs[-1] == "readout_only" and self.first else 1), samples, epoch)

    runs: list[str] = []
    monkeypatch.setattr(Notes, "begin", lambda self, title, **_: runs.append(title.split()[0]))
    monkeypatch.setattr(LossWatch, "see", spoilt)
    result = train_run(RunSpec(**SMALL, epochs=1), control=True, progress=notes)
    assert runs == ["dfa", "readout_only"]
    assert result.control is None
    assert result.test_accuracy is not None
    assert notes.told[0].startswith("no control: got a training loss")


def test_the_watch_compares_what_is_new_with_the_first_loss() -> None:
    watch = LossWatch()
    watch.begin_epoch()
    watch.see(2.0, 10, 1)
    watch.see(50.0, 20, 1)  # the last ten: 98
    watch.begin_epoch()
    watch.see(2.0 * LIMIT, 10, 2)
    with pytest.raises(DivergedError, match=r"a training loss of 202 in epoch 2, 1e\+02 times the first \(2\)"):
        watch.see(2.0 * LIMIT + 1, 20, 2)
    with pytest.raises(DivergedError):
        LossWatch(0.5).see(float("nan"), 10, 1)


QUIET: dict[str, Any] = {
    "data": "encoded(data=digits(subset=80), ticks=6)",
    "rule": "eprop",
    "batch_size": 16,
    "epochs": 2,
}


def test_a_silent_spiking_network_is_named_once_with_its_rate() -> None:
    notes = Notes()
    result = train_run(RunSpec(**QUIET, network="snn(hidden=[6, 5], neuron=lif(threshold=1000.0))"), progress=notes)
    assert len(notes.told) == 1
    assert "hardly spike after epoch 1, in spikes per neuron and tick: spiking1 (0), spiking2 (0);" in notes.told[0]
    assert [row["silent"] for row in result.rows] == [{"spiking1": 0.0, "spiking2": 0.0}] * 2
    lively = Notes()
    result = train_run(RunSpec(**QUIET, network="snn(hidden=[6])"), progress=lively)
    assert not lively.told
    assert not any("silent" in row for row in result.rows)
    with pytest.warns(UserWarning, match="hardly spike"):
        train_run(RunSpec(**{**QUIET, "epochs": 1}, network="snn(hidden=[6], neuron=lif(threshold=1000.0))"))


@pytest.mark.parametrize(("size", "which"), [(1, "batches of one sample"), (199, "a last batch of one sample")])
def test_batches_of_one_sample_are_refused_before_training_where_they_are_normalised(size, which) -> None:
    fields: dict[str, Any] = {
        "data": "digits(subset=200, validation=0)",
        "network": "mlp(hidden=[8], norm=batch)",
        "epochs": 1,
    }
    with pytest.raises(NeurofaError, match=rf"got {which} for the batch normalisation of layer 'dense1'"):
        train_run(RunSpec(**fields, batch_size=size))
    train_run(RunSpec(**{**fields, "network": "mlp(hidden=[8], norm=layer)"}, batch_size=199))
