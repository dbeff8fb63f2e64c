"""Damaged files: one line of the project's error class, and never changed numbers that pass for what was written."""

from __future__ import annotations

import faulthandler
import io
import random
import shutil
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from experiments.commands import inspect
from experiments.data._spike_hdf5 import _read_columns
from experiments.exporting.load import load_run
from experiments.runs.folder import RunFolder
from experiments.runs.run import RunSpec, train_run
from exports.hdf5.checks import require_intact
from exports.hdf5.read import open_hardware_file
from exports.nir.checks import _float_arrays, read_nir
from exports.nir.write import network_to_nir, write_nir
from exports.onnx.builder import write_onnx
from exports.onnx.digest import graph_tensors, read_onnx
from exports.onnx.learning import learning_graph
from exports.programming.conductances import TileMapping
from exports.restore import learner_states, rebuild_learner, restore_learner
from exports.verify import verify_file
from hwmodels.errors import NeurofaError
from neurofa.training.checkpoint import load_checkpoint, load_network, save_checkpoint, save_network
from tests.damage.generators import (
    Damage,
    damage_bytes,
    damage_hdf5,
    damage_json,
    damage_onnx,
    damage_tensors,
    either,
)
from tests.exports.learners import exported, learner, model, recipe
from tests.exports.spiking_nets import chain, spiking
from tests.exports.test_digests import unsealed

FEW, MANY = 12, 300
"""Damages of each kind in every test run, and in the long one."""
SPEC = RunSpec(data="digits(subset=64)", network="mlp(hidden=[8])", epochs=1)
DRAWS = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
Reader = Callable[[Path], Any]
"""Reads a file as those who use it do; returns all of its numbers."""


def equal(a: Any, b: Any) -> bool:
    """Whether two trees of numbers are the same, bit for bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and equal(a.numpy(), b.numpy())
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)


def survive(whole: Path, scratch: Path, damage: Damage, readers: list[Reader], *, draws: int, seed: str) -> list[int]:
    """Damage a file or a file of a folder many times; return how many were refused, and how many harmless.

    Args:
        whole: file or folder, which stays as it is.
        scratch: for the damaged copies.
        damage: of a file.
        readers: each must refuse, or read what it read before.
        draws: damages.
        seed: of them.
    """
    wanted = [reader(whole) for reader in readers]
    counts, faults = [0, 0], list[str]()
    for number in range(draws):
        draw = random.Random(f"{seed} {number}")
        target = scratch / whole.name
        if whole.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(whole, target)
            file = draw.choice(sorted(path for path in target.iterdir() if path.is_file()))
        else:
            shutil.copy(whole, target)
            file = target
        how = f"draw {number}: {file.name}, {damage(file, draw)}"
        refused = False
        # HDF5's library may read a damaged file without end, inside a call that no exception leaves
        faulthandler.dump_traceback_later(600, exit=True)
        for reader, value in zip(readers, wanted, strict=True):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of libraries that read on
                    found = reader(target)
            except NeurofaError as error:  # noqa: PERF203 (every reader is asked)
                refused = True
                if "\n" in str(error).strip():
                    faults.append(f"{how}: {reader.__name__} said more than a line: {error}")
            except Exception as error:
                faults.append(f"{how}: {reader.__name__} raised {type(error).__name__}: {error}")
            else:
                if not equal(found, value):
                    faults.append(f"{how}: {reader.__name__} accepted changed numbers")
        faulthandler.cancel_dump_traceback_later()
        counts[not refused] += 1
    print(f"{seed}: {draws} damages, {counts[0]} refused, {counts[1]} harmless, {len(faults)} faults")
    assert not faults, "\n".join(faults[:20])
    return counts


def verified(path: Path) -> None:
    """Refuse a file whose checks do not hold."""
    for check in verify_file(path):
        if not check.ok:
            raise NeurofaError(" ".join(check.detail.split()))


def imported_hdf5(path: Path) -> Any:
    again = rebuild_learner(recipe())
    with open_hardware_file(path, measured=True) as stored:
        require_intact(stored)
        restore_learner(again, stored)
    return {key: value.clone() for key, value in learner_states(again).items()}


def verified_hdf5(path: Path) -> Any:
    verified(path)
    with open_hardware_file(path) as stored:
        return {name: stored.tensor(name) for name in stored.datasets()}


def inspected(path: Path) -> Any:
    with redirect_stdout(io.StringIO()):
        inspect.inspect_command(path)


@pytest.mark.parametrize("draws", [pytest.param(4, id="few"), *DRAWS[1:]])  # these take longest
def test_hdf5(tmp_path: Path, draws: int) -> None:
    exported(tmp_path / "x.h5", mapping=TileMapping(tile=(64, 64)))
    (tmp_path / "s").mkdir()
    readers: list[Reader] = [imported_hdf5, verified_hdf5, inspected]
    counts = survive(tmp_path / "x.h5", tmp_path / "s", either(damage_hdf5), readers, draws=draws, seed="hdf5")
    assert counts[0] > draws / 2


@pytest.mark.parametrize("draws", [pytest.param(3, id="few"), *DRAWS[1:]])
def test_hdf5_of_before(tmp_path: Path, draws: int) -> None:
    """Files without a digest of all bytes in front, as earlier versions wrote them: the digests inside remain."""
    exported(tmp_path / "x.h5", mapping=TileMapping(tile=(64, 64)))
    unsealed(tmp_path / "x.h5")
    (tmp_path / "s").mkdir()
    readers: list[Reader] = [imported_hdf5, verified_hdf5, inspected]
    counts = survive(tmp_path / "x.h5", tmp_path / "s", either(damage_hdf5), readers, draws=draws, seed="unsealed")
    assert counts[0] > draws / 2


def verified_onnx(path: Path) -> Any:
    verified(path)
    return dict(graph_tensors(read_onnx(path).graph))


@pytest.mark.parametrize("draws", DRAWS)
def test_onnx(tmp_path: Path, draws: int) -> None:
    write_onnx(learning_graph(model(learner())), tmp_path / "x.onnx")
    (tmp_path / "s").mkdir()
    readers: list[Reader] = [verified_onnx, inspected]
    counts = survive(tmp_path / "x.onnx", tmp_path / "s", either(damage_onnx), readers, draws=draws, seed="onnx")
    assert counts[0] > draws / 2


def verified_nir(path: Path) -> Any:
    verified(path)
    return _float_arrays(read_nir(path))


@pytest.mark.parametrize("draws", DRAWS)
def test_nir(tmp_path: Path, draws: int) -> None:
    gen = torch.Generator().manual_seed(0)
    layers = spiking("hidden", 6, 8, gen, "synaptic", True, reset="zero"), spiking("out", 8, 3, gen, reset="zero")
    write_nir(network_to_nir(chain(*layers), dt=1e-4)[0], tmp_path / "x.nir")
    (tmp_path / "s").mkdir()
    readers: list[Reader] = [verified_nir, inspected]
    counts = survive(tmp_path / "x.nir", tmp_path / "s", either(damage_hdf5), readers, draws=draws, seed="nir")
    assert counts[0] > draws / 3


def damage_run_file(path: Path, draw: random.Random) -> str:
    """Damage a file of a run's folder as its kind allows."""
    structured = {".safetensors": damage_tensors, ".json": damage_json, ".jsonl": damage_json}
    return either(structured.get(path.suffix, damage_bytes))(path, draw)


def exported_run(path: Path) -> Any:
    run = load_run(path)
    states = {key: value.clone() for key, value in learner_states(run.learner).items()}
    return {"states": states, "spec": run.spec.to_json(), "extra": run.extra}


def evaluated_run(path: Path) -> Any:
    folder = RunFolder(path)
    return {"spec": folder.spec().to_json(), "network": dict(folder.network().state_dict())}


def reported_run(path: Path) -> Any:
    return RunFolder(path).read_result().to_dict()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train_run(SPEC, out)
    return out


@pytest.mark.parametrize("draws", DRAWS)
def test_run_folders(run: Path, tmp_path: Path, draws: int) -> None:
    readers: list[Reader] = [exported_run, evaluated_run, reported_run]
    counts = survive(run, tmp_path, damage_run_file, readers, draws=draws, seed="run")
    assert counts[0] > draws / 2


@pytest.mark.parametrize("draws", DRAWS)
def test_run_folders_without_a_manifest(run: Path, tmp_path: Path, draws: int) -> None:
    """Folders of earlier versions: no reader says more than that it can be read."""
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / "manifest.json").unlink()

    def survived(reader: Reader) -> Reader:
        def read(path: Path) -> None:
            reader(path)

        return read

    readers: list[Reader] = [survived(reader) for reader in (exported_run, evaluated_run, reported_run)]
    (tmp_path / "s").mkdir()
    counts = survive(old, tmp_path / "s", damage_run_file, readers, draws=draws, seed="old")
    assert counts[0] > draws / 4


def loaded_network(path: Path) -> Any:
    return dict(load_network(path).state_dict())


def loaded_checkpoint(path: Path) -> Any:
    again = rebuild_learner(recipe())
    extra = load_checkpoint(path, again)
    states = {key: value.clone() for key, value in learner_states(again).items()}
    return {"states": states, "extra": extra, "gen": again.gen.get_state(), "steps": again.steps}


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("kind", ["network", "checkpoint"])
def test_networks_and_checkpoints(tmp_path: Path, kind: str, draws: int) -> None:
    found, path = learner(), tmp_path / "x.safetensors"
    (tmp_path / "s").mkdir()
    if kind == "network":
        save_network(found.network, path)
    else:
        save_checkpoint(path, found, {"rows": [1, 2.5]})
    reader = loaded_network if kind == "network" else loaded_checkpoint
    counts = survive(path, tmp_path / "s", either(damage_tensors), [reader], draws=draws, seed=kind)
    assert counts[0] > draws / 2


def spikes_read(path: Path) -> None:
    _read_columns(path, 20, ["extra/speaker"])


@pytest.mark.parametrize("draws", DRAWS)
def test_event_files(tmp_path: Path, draws: int) -> None:
    """Data files have no digest: they are refused, or they are somebody's other data."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for key, kind in (("times", np.float16), ("units", np.uint16)):
            ragged = file.create_dataset(f"spikes/{key}", (6,), dtype=h5py.vlen_dtype(kind))
            for row in range(6):
                ragged[row] = np.arange(5).astype(kind)
        file["labels"] = np.arange(6).astype(np.uint16)
        file["extra/speaker"] = np.arange(6).astype(np.uint16)
    (tmp_path / "s").mkdir()
    counts = survive(tmp_path / "x.h5", tmp_path / "s", either(damage_hdf5), [spikes_read], draws=draws, seed="events")
    assert counts[0] > 0
