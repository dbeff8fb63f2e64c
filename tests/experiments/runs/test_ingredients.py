"""Runs are taken again only where their data, and the code of other people's parts, are what they were."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from experiments.cli import run_command as command
from experiments.runs.build import read_data
from experiments.runs.ingredients import run_ingredients, same_ingredients
from experiments.runs.run import RunSpec, train_run
from experiments.sweeps.function_sweep import run_function_sweep
from experiments.sweeps.rows import load_rows
from experiments.sweeps.setup import Setup
from experiments.sweeps.sweep import run_sweep
from hwmodels.errors import NeurofaError
from hwmodels.registry import shelves

MODULE = """
from pathlib import Path
import numpy as np, torch
from experiments.data import Dataset, Split
from hwmodels.registry import recipe
from borrowed_helper import classes

@recipe("data", "borrowed")
def borrowed(scale: float = 1.0) -> Dataset:
    x = torch.from_numpy(np.load(Path(__file__).with_name("x.npy"))) * scale
    y = torch.arange(len(x)) % classes()
    splits = tuple(Split(x[i::3], y[i::3]) for i in range(3))
    return Dataset.of("borrowed", splits, classes=classes(), provenance={"origin": "mine"})

def measured(a: int) -> dict:
    return {"value": a}
"""
SPEC = RunSpec(data="borrowed", network="mlp(hidden=[4])", epochs=1)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of somebody with a data set, its numbers, and a module that it uses."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    (folder / "borrowed_helper.py").write_text("def classes(): return 2\n")
    (folder / "borrowed.py").write_text(MODULE)
    draw(folder, 0)
    spec = importlib.util.spec_from_file_location("borrowed", folder / "borrowed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["borrowed"] = module
    spec.loader.exec_module(module)
    read_data.cache_clear()
    yield folder
    del shelves._PARTS["data"]["borrowed"], sys.modules["borrowed"], sys.modules["borrowed_helper"]
    read_data.cache_clear()


def draw(folder: Path, seed: int) -> None:
    np.save(folder / "x.npy", np.random.default_rng(seed).normal(size=(30, 5)).astype(np.float32))
    read_data.cache_clear()


def change(folder: Path, what: str) -> None:
    if what == "data":
        draw(folder, 1)
    else:
        file = folder / {"code": "borrowed.py", "helper": "borrowed_helper.py"}[what]
        file.write_text(file.read_text() + "\n# changed\n")


@pytest.mark.parametrize("what", ["data", "code", "helper"])
def test_changes_are_seen(package: Path, what: str) -> None:
    before = run_ingredients(SPEC)
    read_data.cache_clear()
    assert run_ingredients(SPEC) == before
    assert before.keys() == {"data", "code"}
    change(package, what)
    after = run_ingredients(SPEC)
    assert not same_ingredients(before, after)
    assert not same_ingredients(None, after)  # of a run of before, nobody knows


def test_own_parts_have_no_code_and_rows_of_before_are_recognised(tmp_path: Path) -> None:
    spec = RunSpec(data="digits(subset=64)", network="mlp(hidden=[4])", epochs=1)
    assert run_ingredients(spec).keys() == {"data"}
    assert same_ingredients(None, run_ingredients(spec))
    setup = Setup(folder=tmp_path, workers=0)
    run_sweep([spec], setup)
    row = tmp_path / "rows" / f"{spec.key}.json"
    content = json.loads(row.read_text())
    old = {key: content[key] for key in ("key", "spec", "result", "error")}
    old["result"]["test_accuracy"] = 0.123  # to know it again
    row.write_text(json.dumps(old))
    (found,) = run_sweep([spec], setup)
    assert (found.result or {})["test_accuracy"] == 0.123


@pytest.mark.parametrize("keep", [False, True])
def test_a_sweep_computes_again_what_has_changed(package: Path, tmp_path: Path, keep: bool) -> None:
    setup = Setup(folder=tmp_path / "sweep", workers=0)
    (first,) = run_sweep([SPEC], setup, keep=keep)
    assert run_sweep([SPEC], setup, keep=keep)[0].result == first.result
    change(package, "data")
    (second,) = run_sweep([SPEC], setup, keep=keep)
    assert (second.result or {})["test_loss"] != (first.result or {})["test_loss"]
    assert len(load_rows(setup.folder)) == 1


def test_a_function_of_somebody_is_called_again_when_it_has_changed(package: Path, tmp_path: Path) -> None:
    setup = Setup(folder=tmp_path / "calls", workers=0)
    function = sys.modules["borrowed"].measured
    assert run_function_sweep(function, [{"a": 1}], setup, name="f") == [{"value": 1}]
    (row,) = (setup.folder / "rows").glob("*.json")
    before = row.stat().st_mtime_ns
    run_function_sweep(function, [{"a": 1}], setup, name="f")
    assert row.stat().st_mtime_ns == before
    change(package, "code")
    run_function_sweep(function, [{"a": 1}], setup, name="f")
    assert row.stat().st_mtime_ns != before


@pytest.mark.long
def test_a_run_on_changed_data_is_not_resumed_unasked(package: Path, tmp_path: Path) -> None:
    first = train_run(SPEC, tmp_path / "run")
    assert train_run(SPEC, tmp_path / "run", resume=True) == first
    change(package, "data")
    with pytest.raises(NeurofaError, match="have changed since"):
        train_run(SPEC, tmp_path / "run", resume=True)
    assert train_run(SPEC, tmp_path / "run", resume=True, renew=True).test_loss != first.test_loss


def test_reused_runs_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "--data", "digits(subset=64)", "--network", "mlp(hidden=[4])", "--epochs", "1", "--workers", "0"]
    words += ["--out", str(tmp_path), "--seeds"]
    assert command([*words, "1"]) == 0
    assert "reused" not in capsys.readouterr().err
    assert command([*words, "2"]) == 0
    assert "1 of 2 runs reused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value"), [("spec", 3), ("result", [1]), ("error", 1), ("key", None), ("key", "0" * 64), ("result", {})]
)
def test_a_damaged_row_is_one_line(field: str, value: object, tmp_path: Path) -> None:
    spec = RunSpec(data="digits(subset=64)", network="mlp(hidden=[4])", epochs=1)
    run_sweep([spec], Setup(folder=tmp_path, workers=0))
    row = tmp_path / "rows" / f"{spec.key}.json"
    (row.parent / "._x.json").write_bytes(b"\x00\x05")  # what macOS leaves beside files
    load_rows(tmp_path)
    row.write_text(json.dumps(json.loads(row.read_text()) | {field: value}))
    with pytest.raises(NeurofaError, match="no row of a sweep"):
        load_rows(tmp_path)
