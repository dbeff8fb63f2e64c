"""A run's folder: one writer, files that belong together, and damage that is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from experiments.cli import run_command as command
from experiments.exporting.load import load_run
from experiments.runs.folder import RunFolder
from experiments.runs.lock import folder_lock
from experiments.runs.progress import Progress
from experiments.runs.run import RunSpec, train_run
from hwmodels.errors import NeurofaError
from neurofa.training.loop.tally import Score

SMALL = RunSpec(data="digits(subset=64)", network="mlp(hidden=[8])", epochs=2)
READERS = ("evaluate", "export", "resume")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of two seeds, ``0`` and ``1``."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        train_run(replace(SMALL, seed=seed), folder / str(seed))
    return folder


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    """A copy of run 0 to be damaged."""
    return Path(shutil.copytree(runs / "0", tmp_path / "run"))


def words(reader: str, folder: Path, out: Path) -> list[str]:
    """The command of a reader."""
    return {
        "evaluate": ["evaluate", str(folder), "--json"],
        "export": ["export", str(folder), "-o", str(out / "x.h5")],
        "resume": ["train", "--resume", "--out", str(folder), "--no-control", "-q"],
        "budget": ["budget", "--run", str(folder), "--json"],
        "diagnose": ["diagnose", str(folder), "--json"],
    }[reader]


def without_manifest(folder: Path) -> None:
    """Make it a folder of an earlier version: no manifest, no digests in its files."""
    (folder / "manifest.json").unlink()
    for path in folder.glob("*.safetensors"):
        change_metadata(path, lambda about: about.pop("sha256"))


def change_metadata(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["neurofa"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(about)
    save_file(tensors, path, metadata={"neurofa": json.dumps(about)})


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    code = command(arguments)
    said = capsys.readouterr()
    assert code == 2, said
    assert said.err.splitlines()[-1].startswith("neurofa: got ")
    return said.err


class Meddle(Progress):
    """Does something at the first glance at a run that trains."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action, self.done = action, False

    def step(self, samples: int, score: Score) -> None:
        if not self.done:
            self.done = True
            self.action()


@pytest.mark.parametrize("flag", ["overwrite", "resume"])
def test_a_second_writer_is_refused_while_the_first_one_writes(flag: str, tmp_path: Path) -> None:
    out, said = tmp_path / "run", []

    def second() -> None:  # the lock is of the open file: one process can play two
        with pytest.raises(NeurofaError, match="which process") as refusal:
            train_run(replace(SMALL, seed=1), out, resume=flag == "resume", overwrite=flag == "overwrite")
        said.append(str(refusal.value))

    first = train_run(SMALL, out, progress=Meddle(second))
    assert said
    assert json.loads((out / "run.json").read_text())["seed"] == 0
    assert RunFolder(out).read_result() == first
    assert not (out / ".lock").exists()


def test_a_writer_whose_folder_was_taken_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a file system without locks: only the manifest tells
    monkeypatch.setattr("experiments.runs.lock._locked", lambda handle: True)
    out = tmp_path / "run"
    with pytest.raises(NeurofaError, match="written by another process"):
        train_run(SMALL, out, progress=Meddle(lambda: train_run(replace(SMALL, seed=1), out, overwrite=True)))
    folder = RunFolder(out)
    assert folder.spec().seed == 1
    assert folder.read_result().spec.seed == 1
    assert folder.network().seed == 1


def test_a_writer_whose_folder_is_gone_stops(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def remove() -> None:
        shutil.rmtree(out)
        out.mkdir()

    with pytest.raises(NeurofaError, match="nobody's any more"):
        train_run(SMALL, out, progress=Meddle(remove))


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(NeurofaError, match="is writing"), folder_lock(tmp_path):
        pass
    with folder_lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reader", [*READERS, "budget"])
@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.safetensors", "metrics.jsonl", "run.json"])
def test_a_file_of_another_run_is_noticed(
    name: str, reader: str, runs: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = {"evaluate": {"model", "run"}, "budget": {"model", "run"}, "resume": {"metrics", "run"}}
    if name.partition(".")[0] not in used.get(reader, {"model", "checkpoint", "metrics", "run"}):
        pytest.skip("not read")
    shutil.copy(runs / "1" / name, run / name)
    assert name in refused(words(reader, run, tmp_path), capsys)


@pytest.mark.parametrize("name", ["model.safetensors", "run.json", "result.json"])
def test_parts_of_two_runs_are_noticed_without_a_manifest(
    name: str, runs: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_manifest(run)
    shutil.copy(runs / "1" / name, run / name)
    for reader in READERS[name == "model.safetensors" :: 2] if name != "result.json" else ("export", "resume"):
        assert refused(words(reader, run, tmp_path), capsys)
    if name == "model.safetensors":
        assert refused(words("evaluate", run, tmp_path), capsys)


@pytest.mark.parametrize("old", [False, True])
def test_a_flipped_byte_of_a_weight_is_noticed(
    old: bool, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if old:
        without_manifest(run)
    for name in ("model.safetensors", "checkpoint.safetensors"):
        content = bytearray((run / name).read_bytes())
        content[-40] ^= 64
        (run / name).write_bytes(content)
    for reader in ("evaluate", "export"):
        if old and reader == "export":
            continue
        refused(words(reader, run, tmp_path), capsys)


def test_a_network_file_holds_its_own_digest(run: Path) -> None:
    from neurofa import load_network

    path = run / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(NeurofaError, match="not what was written"):
        load_network(path)


def test_a_folder_of_an_earlier_version_opens_with_a_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_manifest(run)
    for reader in ("evaluate", "export", "budget", "resume"):
        capsys.readouterr()
        assert command(words(reader, run, tmp_path)) == 0
        assert capsys.readouterr().err.count("has no manifest") == 1, reader


def test_an_unfinished_run_of_an_earlier_version_is_resumed(run: Path, runs: Path) -> None:
    without_manifest(run)
    for name in ("result.json", "model.safetensors"):
        (run / name).unlink()
    train_run(SMALL, run, resume=True)
    weights = [load_file(folder / "model.safetensors") for folder in (run, runs / "0")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])
    assert (run / "manifest.json").exists()


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty object": ("run.json", lambda p: p.write_text("{}")),
    "list": ("run.json", lambda p: p.write_text("[]")),
    "binary run": ("run.json", lambda p: p.write_bytes(bytes(range(128, 256)))),
    "deep": ("run.json", lambda p: p.write_text("[" * 100_000)),
    "spec is text": ("run.json", lambda p: change_json(p, lambda c: c.update(spec="mlp"))),
    "spec is empty": ("run.json", lambda p: change_json(p, lambda c: c.update(spec={}))),
    "epochs are text": ("run.json", lambda p: change_json(p, lambda c: c["spec"].update(epochs="3"))),
    "network is a number": ("run.json", lambda p: change_json(p, lambda c: c["spec"].update(network=3))),
    "another seed": ("run.json", lambda p: change_json(p, lambda c: c["spec"].update(seed=7))),
    "binary rows": ("metrics.jsonl", lambda p: p.write_bytes(bytes(range(128, 256)))),
    "rows are numbers": ("metrics.jsonl", lambda p: p.write_text("1\n2\n")),
    "rows are missing": ("metrics.jsonl", lambda p: p.unlink()),
    "a row is missing": ("metrics.jsonl", lambda p: p.write_text(p.read_text().splitlines()[1])),
    "epoch 99": ("result.json", lambda p: change_json(p, lambda c: c.update(epoch=99))),
    "epoch is text": ("result.json", lambda p: change_json(p, lambda c: c.update(epoch="1"))),
    "accuracy is a list": ("result.json", lambda p: change_json(p, lambda c: c.update(test_accuracy=[1]))),
    "another loss": ("result.json", lambda p: change_json(p, lambda c: c.update(loss=0.0))),
    "no rows": ("checkpoint.safetensors", lambda p: change_metadata(p, lambda c: c["extra"].pop("rows"))),
    "best is text": ("checkpoint.safetensors", lambda p: change_metadata(p, lambda c: c["extra"].update(best="1"))),
    "no steps": ("checkpoint.safetensors", lambda p: change_metadata(p, lambda c: c.pop("steps"))),
    "groups are text": ("checkpoint.safetensors", lambda p: change_metadata(p, lambda c: c.update(groups=["x"]))),
    "metadata is a list": ("model.safetensors", lambda p: save_file({}, p, metadata={"neurofa": "[1]"})),
    "no seed": ("model.safetensors", lambda p: change_metadata(p, lambda c: c.pop("seed"))),
    "shape is text": ("model.safetensors", lambda p: change_metadata(p, lambda c: c.update(input_shape=["a"]))),
    "outputs are text": ("model.safetensors", lambda p: change_metadata(p, lambda c: c.update(outputs="10"))),
    "huge spec": ("model.safetensors", lambda p: change_metadata(p, lambda c: c.update(spec=HUGE))),
    "unknown spec": ("model.safetensors", lambda p: change_metadata(p, lambda c: c.update(spec="nothing"))),
    "truncated": ("model.safetensors", lambda p: p.write_bytes(p.read_bytes()[:300])),
}
HUGE = "mlp(hidden=[100000000000])"


@pytest.mark.sample(25)
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_line(damage: str, old: bool, run: Path) -> None:
    if old:
        without_manifest(run)
    name, change = DAMAGES[damage]
    change(run / name)
    with pytest.raises(NeurofaError) as refusal:
        load_run(run)
    assert name in str(refusal.value) or damage in ("network is a number", "epochs are text")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_without_generators_is_one_line(
    old: bool, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if old:
        without_manifest(run)
    path = run / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys() if key != "gen.rule"}  # noqa: SIM118
    save_file(tensors, path, metadata=metadata)
    refused(words("export", run, tmp_path), capsys)
    (run / "result.json").unlink()
    refused(words("resume", run, tmp_path), capsys)
