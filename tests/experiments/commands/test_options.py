"""Options that are fields of a run: the same in every command, made from ``RunSpec`` alone; stored runs of before."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import pytest

from experiments.cli import run_command as command
from experiments.exporting.load import LoadedRun, load_run
from experiments.runs import spec as spec_module
from experiments.runs.folder import RunFolder
from experiments.runs.run import RunSpec, train_run
from experiments.runs.spec import Option, options_of, stored_key
from experiments.sweeps.rows import load_rows
from exports.hdf5.read import open_hardware_file
from exports.verify import stored_recipe
from hwmodels.registry import build
from neurofa.rules.dfa import DFA

SMALL = ["--data", "digits(subset=64)", "--network", "mlp(hidden=[8])", "--epochs", "1"]


@dataclass(frozen=True, kw_only=True)
class Wider(RunSpec):
    """A run with one field more."""

    colour: Annotated[str, Option("Colour, such as blue.", words=("red", "blue"), earlier="red")] = "red"


def helped(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert command([name, "--help"]) == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("name", "without"), [("train", set()), ("check", set()), ("sweep", {"seed"}), ("benchmark", {"seed"})]
)
def test_every_field_is_an_option_with_its_default(
    name: str, without: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = helped(name, capsys)
    for field in fields(RunSpec):
        assert (f"--{field.name.replace('_', '-')} " in text.replace(",--batch", " ")) != (field.name in without)
    assert 'Device that stores weights, such as "fixed(bits=4)". Default: digital.' in text
    assert ("Passes over the training data. Default: 10." in text) == (name != "benchmark")
    assert ("Passes over the training data. Default: that of the task." in text) == (name == "benchmark")


def test_a_new_field_is_an_option_of_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all("--colour" not in helped(name, capsys) for name in ("train", "sweep", "check", "benchmark"))
    monkeypatch.setattr(spec_module, "RunSpec", Wider)
    for name in ("train", "sweep", "check", "benchmark"):
        assert "Colour, such as blue. Default: red." in helped(name, capsys)
    assert command(["check", "--profile", "loihi1", *SMALL, "--colour", "blue", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["spec"]["colour"] == "blue"
    assert command(["check", "--profile", "loihi1", *SMALL, "--colour", "green"]) == 2
    assert "got colour='green'; expected red or blue" in capsys.readouterr().err
    assert Wider().key == RunSpec().key != Wider(colour="blue").key, "runs of before keep their key"


def test_options_of_a_run_have_help_and_valid_defaults() -> None:
    for name, option in options_of(RunSpec).items():
        default = getattr(RunSpec(), name)
        assert option.help.endswith("."), name
        assert option.none or default is not None, name
        assert not option.words or default in option.words, name


def test_lists_flags_and_falsy_values_of_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", *SMALL, "--feedback-seed", "0", "1", "--batch", "16", "--out", str(tmp_path), "--workers", "0"]
    assert command([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["feedback_seed"], row["batch_size"], row["fused"]) for row in rows] == [(0, 16, False), (1, 16, False)]


# sdfa was ternary once


def error_of(rule: str) -> str:
    built: DFA = build("rule", rule)
    return built.encoder.name


def test_sdfa_is_the_sign_and_tdfa_the_ternary_error() -> None:
    assert (error_of("sdfa"), error_of("tdfa"), error_of("sdfa(error=ternary)")) == ("sign", "ternary", "ternary")
    assert RunSpec(rule="sdfa").rule == "sdfa(error=sign)"
    assert RunSpec(rule="sdfa(feedback=opu)").rule == "sdfa(error=sign, feedback=opu)"
    assert RunSpec(rule="sdfa").key == RunSpec(rule="sdfa(error=sign)").key != RunSpec(rule="tdfa").key


def test_a_stored_sdfa_of_before_stays_ternary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunSpec(data="digits(subset=64)", network="mlp(hidden=[8])", rule="sdfa(error=ternary)", epochs=1)
    train_run(run, tmp_path)
    for name in ("run.json", "result.json"):
        content = json.loads((tmp_path / name).read_text())
        content["spec"]["rule"] = "sdfa"  # as it was written then
        content["key"] = stored_key(content["spec"])
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "manifest.json").unlink()  # folders of then had none
    assert RunFolder(tmp_path).spec() == RunFolder(tmp_path).read_result().spec == run
    assert command(["train", "--resume", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["rule"] == "sdfa(error=ternary)"
    # a file of before holds the short name, and the error format beside it
    provenance = LoadedRun.provenance
    recipe = provenance(load_run(tmp_path))["recipe"] | {"rule": "sdfa"}
    monkeypatch.setattr(LoadedRun, "provenance", lambda self: provenance(self) | {"recipe": recipe})
    assert command(["export", str(tmp_path), "-o", str(tmp_path / "n.h5")]) == 0
    assert command(["verify", str(tmp_path / "n.h5"), "--against", str(tmp_path)]) == 0
    with open_hardware_file(tmp_path / "n.h5") as stored:
        assert stored.attributes("provenance")["recipe"]["rule"] == "sdfa"
        assert stored_recipe(stored)["rule"] == "sdfa(error=ternary)"


def test_a_row_of_before_says_that_sdfa_was_ternary(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    spec = RunSpec().to_json() | {"rule": "sdfa"}
    row = {"key": "k", "spec": spec, "result": dict[str, object](), "error": None}
    (tmp_path / "rows" / "k.json").write_text(json.dumps(row))
    assert load_rows(tmp_path)["k"].spec["rule"] == "sdfa(error=ternary)"
