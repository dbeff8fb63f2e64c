"""``neurofa benchmark``: one object on stdout, figures that can be checked, pictures, chips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.benchmarks.eligibility import eligibility_trace
from experiments.benchmarks.pictures import record_sample
from experiments.benchmarks.report import with_write_counter
from experiments.benchmarks.spiking_chip import with_chip_formats, within_chip_size
from experiments.benchmarks.tasks import TASKS
from experiments.cli import run_command as run
from experiments.commands.benchmark import task_title
from experiments.reports.chips import build_profile
from experiments.runs.folder import RunFolder
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.training.learner import Learner

DATA = "encoded(data=digits(subset=64), ticks=6)"
SMALL = ["--data", DATA, "--network", "snn(hidden=[8])", "--epochs", "1"]
KEYS = {"task", "rule", "accuracy", "footprint_bytes", "connection_sparsity", "activation_sparsity", "trace_bytes"}
KEYS |= {"synaptic_operations", "membrane_updates", "state_bytes", "writes_per_weight", "seeds", "spec", "versions"}


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run(["benchmark", *words, "--json", "--quiet"]) == 0
    out = capsys.readouterr().out
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.long
def test_one_object_with_the_promised_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    found = answer(capsys, "digits", *SMALL, "--seeds", "2", "--out", str(out))
    assert set(found) >= KEYS
    assert (found["task"], found["rule"], found["device"]) == ("digits", "eprop", "digital")
    weights = 64 * 8 + 8 + 8 * 10 + 10
    assert found["footprint_bytes"] == found["stored_bytes"] == 4 * weights
    assert found["synaptic_operations"]["dense"] == 6 * (64 * 8 + 8 * 10)
    assert found["synaptic_operations"]["effective_macs"] == 0
    assert 0 < found["synaptic_operations"]["effective_acs"] < found["synaptic_operations"]["dense"]
    assert found["state_bytes"] == 4 * (8 + 10)
    assert 0 < found["writes_per_weight"]["mean"] <= 2
    assert [seed["seed"] for seed in found["seeds"]] == [0, 1]
    of_runs = [RunFolder(out / f"seed-{k}").read_result().test_accuracy for k in (0, 1)]
    assert [seed["accuracy"] for seed in found["seeds"]] == of_runs
    assert found["accuracy"] == pytest.approx(sum(a or 0.0 for a in of_runs) / 2)
    assert json.loads((out / "benchmark.json").read_text(encoding="utf-8")) == found
    for name in ("raster", "membranes", "eligibility"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    stamp = (out / "seed-0" / "result.json").stat().st_mtime_ns
    assert answer(capsys, "digits", *SMALL, "--seeds", "2", "--out", str(out)) == found
    assert (out / "seed-0" / "result.json").stat().st_mtime_ns == stamp, "finished runs are not done again"


def test_a_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["benchmark", "digits", *SMALL, "--no-count-writes", "--rule", "bptt", "--out", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("accuracy, %", "effective ACs, a sample", "not counted", "traces of learning", "picture:"):
        assert words in out


def test_forecasts_are_judged_by_smape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = "mackey_glass(ticks=30, washout=10, train=200, validation=60, test=60)"
    small = ["--data", data, "--network", "snn(hidden=[8])", "--epochs", "2", "--out", str(tmp_path)]
    found = answer(capsys, "mackey_glass", *small)
    assert "accuracy" not in found
    assert 0 < found["smape"] < 200
    assert 0 < found["smape_autonomous"] <= 200
    assert found["spec"]["loss"] == "mse"
    assert found["synaptic_operations"]["effective_macs"] > 0, "values are multiplied"


@pytest.mark.parametrize("chip", ["loihi1", "reckon"])
def test_chips_choose_formats_and_say_what_breaks(
    chip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "digits", *SMALL, "--profile", chip, "--out", str(tmp_path))
    profile = build_profile(chip)
    limits = {each["limit"]: each for each in found["profile"]["limits"]}
    assert found["profile"]["verdict"] == "holds", [each for each in limits.values() if each["verdict"] == "broken"]
    assert limits["trace_bits"]["verdict"] == "holds"
    assert found["spec"]["batch_size"] == 1
    numbers = found["trace_bytes"] / 4
    assert found["trace_bytes_stored"] == pytest.approx(numbers * (profile.trace_bits or 0) / 8, abs=1 / 8)
    assert found["stored_bytes"] < found["footprint_bytes"] / 3
    assert bool(found["energy"]) == (profile.operation_energy is not None)


def test_what_a_user_insists_on_can_break_a_chip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--profile", "reckon", "--rule", "eprop", "--optimizer", "adam(lr=0.01)", "--batch-size", "32"]
    network = "snn(hidden=[8], neuron=lif(surrogate=atan, membrane=raw), traces=raw)"
    found = answer(capsys, "digits", *SMALL[:2], "--epochs", "1", "--network", network, *words, "--out", str(tmp_path))
    broken = {each["limit"] for each in found["profile"]["limits"] if each["verdict"] == "broken"}
    wanted = {"batch", "synapse_state", "rate_bits", "feedback_weights", "trace_bits", "membrane_bits"}
    assert broken >= wanted | {"surrogate_segments"}
    assert found["profile"]["verdict"] == "broken"


def test_a_title_names_the_data_that_were_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["benchmark", "digits", *SMALL, "--no-count-writes", "--out", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"{DATA} with the settings of digits; eprop" in out
    assert TASKS["digits"].about not in out
    found = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert found["data"] == DATA
    assert found["title"] == f"{DATA} with the settings of digits"


def test_a_title_names_the_network_that_was_trained() -> None:
    task = TASKS["rate_mnist"]
    spec = RunSpec(**task.fields)  # type: ignore[arg-type]
    assert task_title("rate_mnist", task, spec) == f"rate_mnist: {task.about}"
    assert task_title("rate_mnist", task, replace(spec, network="snn(hidden=[8])")) == "rate_mnist by snn(hidden=[8])"


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["benchmark", "digit"]) == 2
    assert "got task 'digit'; expected one of digits" in capsys.readouterr().err
    assert run(["benchmark", "digits", "--data", "digits", "--out", str(tmp_path)]) == 2
    assert "expected spikes over time; use encoded(data=digits)" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(TASKS))
def test_presets_are_runs(name: str) -> None:
    spec = RunSpec(**TASKS[name].fields)  # type: ignore[arg-type]
    spec.check()
    assert spec.loss == ("mse" if TASKS[name].measure == "smape" else "cross_entropy")


@pytest.mark.parametrize(
    ("device", "counted"),
    [
        ("digital", "wear(device=digital, endurance=1e999)"),
        ("ecram", "wear(device=ecram, endurance=1e999)"),
        ("mixed_precision(device=reram_sb)", "mixed_precision(device=wear(device=reram_sb, endurance=1e999))"),
        ("wear(device=ecram, endurance=5)", "wear(device=ecram, endurance=5)"),
    ],
)
def test_ledgers_stand_around_what_is_written(device: str, counted: str) -> None:
    assert with_write_counter(device) == counted
    build("device", counted)


def test_networks_take_the_formats_of_a_chip() -> None:
    chip = build_profile("reckon")
    made = with_chip_formats(chip, "snn(neuron=lif(beta=0.8))")
    assert made.startswith("snn(neuron=lif(surrogate=table, membrane=uniform(bits=16, range=16.0), beta=0.8)")
    assert "traces=uniform(bits=12, range=10.0)" in made
    assert with_chip_formats(chip, "snn(traces=raw)").count("raw") == 1, "what was chosen stays"
    assert within_chip_size(chip, "snn(hidden=[400, 100])") == "snn(hidden=[256])"
    assert within_chip_size(chip, "conv_snn") == "conv_snn"


def test_drawn_eligibility_makes_the_direction() -> None:
    network = build("network", "snn(hidden=[3], neuron=alif)", input_shape=(4,), outputs=2)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    xs = (torch.rand(9, 1, 4, generator=torch.Generator().manual_seed(0)) < 0.6).float()
    view = record_sample(network, xs, tick=1e-3).views["spiking0"]
    signal = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    layer = network.layer("spiking0")
    direction = layer.pullback(layer.backprop_local(replace(view, error=signal, delta=None)))["weight"]
    dense = direction if isinstance(direction, torch.Tensor) else direction.dense()
    for neuron in range(3):
        for source in range(4):
            own = torch.tensor(eligibility_trace(learner, "spiking0", view, neuron, source))
            assert float(own @ signal[:, neuron]) == pytest.approx(float(dense[neuron, source]), abs=1e-5)


def test_still_layers_have_no_eligibility() -> None:
    network = build("network", "mlp(hidden=[3])", input_shape=(4,), outputs=2)
    with pytest.raises(NeurofaError, match="got a network without spiking neurons"):
        record_sample(network, torch.ones(2, 1, 4), tick=1e-3)
