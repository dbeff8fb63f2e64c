"""Numbers of the code of schema 1, before its parts were renamed: training runs, HDF5 files and the folders of runs."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.pinned.compare import HERE, QUICK, STORED, neurofa, numbers, train

RUNS = json.loads(STORED.read_text())["runs"]
FILES = HERE / "schema_v1"
NAMES = ["mlp_dfa", "cnn_kp", "snn_eprop"]
# of the splits of digits that every run shares
SIZES = {"validation_accuracy": 180, "test_accuracy": 360}


def printed(capsys, *words, code=0):
    capsys.readouterr()
    assert neurofa(*words, "--json") == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in RUNS])
def test_a_run_gives_the_numbers_that_it_gave(name, tmp_path):
    stored = RUNS[name]["metrics"]
    before, after = numbers(stored), numbers(train(RUNS[name]["train"], tmp_path / "run"))
    assert after.keys() == before.keys()
    sizes = {**SIZES, "train_accuracy": stored["samples"]}
    for key, value in before.items():
        sample = sizes.get(key.rpartition("/")[2])
        # sums are rounded otherwise on other processors
        close = pytest.approx(value, rel=1e-4) if sample is None else pytest.approx(value, abs=1.001 / sample)
        assert after[key] == close, key


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_version_1_holds(name, capsys):
    file = FILES / f"{name}.h5"
    with h5py.File(file) as content:
        assert content.attrs["format_version"] == "1.0"
    checks = printed(capsys, "verify", file, "--against", FILES / name)
    assert checks["ok"], [c for c in checks["checks"] if not c["ok"]]
    assert {"opens", "schema", "checksums", "copies", "products", "network", "against"} <= {
        c["name"] for c in checks["checks"]
    }
    layers = [layer["name"] for layer in printed(capsys, "inspect", file)["layers"]]
    with h5py.File(file) as content:
        assert set(layers) == set(content["layers"])


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_a_run_is_evaluated_as_it_was(name, capsys):
    result = json.loads((FILES / name / "result.json").read_text())
    score = printed(capsys, "evaluate", FILES / name)
    assert score["loss"] == pytest.approx(result["test_loss"], rel=1e-4)
    assert score["accuracy"] == pytest.approx(result["test_accuracy"], abs=1.001 / 360)


@pytest.mark.long
@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(n, marks=pytest.mark.slow) for n in NAMES[1:])])
def test_a_file_of_version_1_is_restored_into_another_run(name, tmp_path, capsys):
    file, fresh, restored = FILES / f"{name}.h5", tmp_path / "fresh", tmp_path / "restored"
    spec = json.loads((FILES / name / "run.json").read_text())["spec"]
    words = [f"--{key}={spec[key]}" for key in ("data", "network", "rule", "device", "optimizer")]
    train([*words, "--epochs", "1", "--batch-size", "64", "--seed", "5"], fresh)
    checks = printed(capsys, "verify", file, "--against", fresh, code=2)["checks"]
    assert [c["name"] for c in checks if not c["ok"]] == ["against"]  # another run, until the file is in it
    assert neurofa("import", file, "--into", fresh, "--out", restored) == 0
    assert printed(capsys, "verify", file, "--against", restored)["ok"]

    held = contents(restored)
    for path, values in matrices(file).items():
        assert content(values) in held, path
        assert np.ptp(values) == 0 or content(values) not in contents(fresh), path

    result = json.loads((FILES / name / "result.json").read_text())
    score = printed(capsys, "evaluate", restored)
    assert score["loss"] == pytest.approx(result["test_loss"], rel=1e-4)


def matrices(file: Path) -> dict[str, np.ndarray]:
    """The weights, biases and feedback that a file says, without their copies in other forms."""
    found: dict[str, np.ndarray] = {}

    def see(path, item):
        last = path.rpartition("/")[2]
        if path.startswith(("layers/", "feedback/")) and last in ("weight", "bias", "recurrent", "matrix", "B"):
            found[path] = item[()]

    with h5py.File(file) as stored:
        stored.visititems(lambda path, item: see(path, item) if isinstance(item, h5py.Dataset) else None)
    assert len(found) >= 5
    return found


def content(values: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return values.shape, np.ascontiguousarray(values).tobytes()


def contents(folder: Path) -> set[tuple[tuple[int, ...], bytes]]:
    """All arrays of a run's folder, whatever they are called there."""
    return {content(values) for path in folder.glob("*.safetensors") for values in load_file(path).values()}
