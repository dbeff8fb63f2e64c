"""Optimizers that rules recommend: declared by every rule, found for a network, stored resolved, shown and said."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from experiments.cli import run_command as command
from experiments.runs.recommended import PLAIN, recommended_optimizer
from experiments.runs.run import RunSpec, control_of, train_run
from experiments.runs.spec import stored_meaning
from hwmodels.registry import build, parts
from neurofa.core.recipes import takes_tokens
from neurofa.core.recommended import Recommended
from neurofa.spiking.sequence import has_memory
from neurofa.testing.exceptions import EXCEPTIONS

SMALL = ["--data", "digits(subset=64)", "--network", "mlp(hidden=[8])", "--epochs", "1", "--no-control"]


@pytest.mark.parametrize("name", parts("rule"))
def test_every_rule_declares_optimizers_that_exist(name: str) -> None:
    part = parts("rule")[name]
    assert "recommended" in vars(part), "beside its source, in the class or the recipe itself"
    recommended = vars(part)["recommended"]
    assert isinstance(recommended, Recommended)
    for optimizer in asdict(recommended).values():
        build("optimizer", optimizer)


@pytest.mark.parametrize("name", [n for n in parts("network") if ("network", n, "serves_samples") not in EXCEPTIONS])
def test_every_network_says_its_kind(name: str) -> None:
    kind = getattr(parts("network")[name], "trains_as", "dense")
    shape = (8,) if takes_tokens(name) else (3, 16, 16)
    network = build("network", name, input_shape=shape, outputs=4)
    shared = network.positions is not None or any(weight.dim() > 2 for weight in network.parameters())
    assert kind == ("spiking" if has_memory(network) else "convolutional" if shared else "dense")


def test_a_run_stores_what_it_found() -> None:
    raf = parts("rule")["raf"].recommended  # type: ignore[attr-defined]
    assert RunSpec(rule="raf(rank=3)").optimizer == raf.dense
    assert RunSpec(rule="raf", network="cnn").optimizer == raf.convolutional
    assert RunSpec(rule="raf", network="snn(hidden=[4])").optimizer == raf.spiking
    assert RunSpec(rule="raf", optimizer="recommended") == RunSpec(rule="raf")
    assert RunSpec(rule="raf", optimizer=PLAIN).optimizer == PLAIN, "a choice wins"
    assert replace(RunSpec(rule="raf"), rule="dfa").optimizer == raf.dense, "what is resolved stays"


def test_stored_runs_keep_their_meaning() -> None:
    stored = RunSpec(rule="raf", optimizer=PLAIN).to_json()
    assert RunSpec.from_stored(stored).to_json() == stored
    del stored["optimizer"]
    assert stored_meaning(stored)["optimizer"] == PLAIN


def test_the_control_is_as_well_chosen() -> None:
    assert control_of(RunSpec(rule="raf")).optimizer == recommended_optimizer("readout_only", "mlp")
    assert control_of(RunSpec(rule="raf", optimizer="sgd(lr=0.07)")).optimizer == "sgd(lr=0.07)"


def test_a_control_is_gone_on_with_as_it_was_begun(tmp_path: Path) -> None:
    spec = RunSpec(rule="raf", data="digits(subset=64)", network="mlp(hidden=[8])", epochs=1)
    train_run(replace(spec, rule="readout_only", optimizer="sgd(lr=0.07)"), tmp_path)
    assert control_of(spec, tmp_path).optimizer == "sgd(lr=0.07)"
    assert control_of(spec, tmp_path / "none").optimizer == recommended_optimizer("readout_only", "mlp")


@pytest.mark.long
def test_train_says_what_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recommended_optimizer("raf", "mlp")
    line = f"optimizer {found}: recommended for raf on mlp"
    for number, (more, said) in enumerate([([], 1), (["--optimizer", found], 0), (["--quiet"], 0)]):
        out = tmp_path / str(number)
        assert command(["train", *SMALL, "--rule", "raf(rank=2)", "--out", str(out), *more]) == 0
        assert capsys.readouterr().err.count(line) == said
        assert json.loads((out / "run.json").read_text(encoding="utf-8"))["spec"]["optimizer"] == found


def test_a_sweep_takes_each_rule_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL[:-1], "--rule", "raf(rank=2)", "dfa", "--out", str(tmp_path), "--workers", "0"]
    assert command(["sweep", *words]) == 0
    said = capsys.readouterr().err
    for rule in ("raf", "dfa"):
        assert f"optimizer {recommended_optimizer(rule, 'mlp')}: recommended for {rule} on mlp" in said


def test_the_list_shows_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert command(["list", "rule"]) == 0
    text = capsys.readouterr().out
    assert text.count("recommended: dense ") == len(parts("rule"))
