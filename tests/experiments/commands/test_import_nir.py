"""``neurofa import graph.nir``: a run that the other commands take, or one line and exit code 2."""

import json

import numpy as np
import pytest

from experiments.cli import run_command as run

nir = pytest.importorskip("nir")
DATA = "encoded(data=digits(subset=60))"


@pytest.fixture
def file(tmp_path):
    g = np.random.default_rng(0)
    nodes = [
        nir.Input(np.array([64])),
        nir.Affine(weight=g.normal(size=(12, 64)) * 0.3, bias=np.zeros(12)),
        nir.LIF(tau=g.uniform(5e-3, 2e-2, 12), r=np.full(12, 10.0), v_leak=np.zeros(12), v_threshold=np.ones(12)),
        nir.Linear(weight=g.normal(size=(10, 12)) * 0.3),
        nir.LI(tau=np.full(10, 1e-2), r=np.full(10, 10.0), v_leak=np.zeros(10)),
    ]
    nir.write(tmp_path / "graph.nir", nir.NIRGraph.from_list(*nodes))
    return tmp_path / "graph.nir"


def printed(capsys, *words):
    capsys.readouterr()
    assert run([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words):
    capsys.readouterr()
    assert run([str(word) for word in words]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.long
def test_the_run_is_evaluated_exported_and_comes_back(file, tmp_path, capsys):
    said = printed(capsys, "import", file, "--data", DATA, "--dt", "1e-3", "--out", tmp_path / "run")
    assert said["epochs"] == 0
    assert said["spec"]["network"].startswith("nir(dt=0.001, path='")
    assert "sha256=" in said["spec"]["network"]
    score = printed(capsys, "evaluate", tmp_path / "run")
    assert score["accuracy"] == said["test_accuracy"]
    for kind in ("nir", "hdf5"):
        assert run(["export", str(tmp_path / "run"), "--format", kind, "--out", str(tmp_path / kind)]) == 0
    assert printed(capsys, "verify", tmp_path / "nir" / "forward.nir", "--against", tmp_path / "run")["ok"]
    assert printed(capsys, "verify", tmp_path / "hdf5" / "network.h5", "--against", tmp_path / "run")["ok"]
    # a file of this package states its tick, and gives the same answers
    again = printed(capsys, "import", tmp_path / "nir" / "forward.nir", "--data", DATA, "--out", tmp_path / "again")
    assert again["test_loss"] == pytest.approx(said["test_loss"], rel=1e-5)


def test_the_network_trains_from_the_command_line(file, tmp_path, capsys):
    network = f"nir(path='{file}', dt=1e-3)"
    words = ["train", "--data", DATA, "--network", network, "--rule", "eprop", "--epochs", "1", "--no-control"]
    trained = printed(capsys, *words, "--out", tmp_path / "run")
    imported = printed(capsys, "import", file, "--data", DATA, "--dt", "1e-3", "--out", tmp_path / "start")
    assert trained["test_loss"] != imported["test_loss"]


def test_what_does_not_fit_is_one_line(file, tmp_path, capsys):
    data = ("--data", DATA)
    assert "no dt for L" in refused(capsys, "import", file, *data)
    assert "without data" in refused(capsys, "import", file, "--dt", "1e-3")
    assert "no file" in refused(capsys, "import", tmp_path / "nowhere.nir", *data, "--dt", "1e-3")
    assert "--into for" in refused(capsys, "import", file, *data, "--into", tmp_path)
    assert "--dt for" in refused(capsys, "import", tmp_path / "x.h5", "--dt", "1e-3", "--into", tmp_path)
    assert "without --into" in refused(capsys, "import", tmp_path / "x.h5")
    assert "have no time" in refused(capsys, "import", file, "--data", "digits(subset=60)", "--dt", "1e-3")
    file.write_bytes(file.read_bytes()[:2000])
    assert "cannot be read" in refused(capsys, "import", file, *data, "--dt", "1e-3", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_that_has_changed_since_is_refused(file, tmp_path, capsys):
    assert run(["import", str(file), "--data", DATA, "--dt", "1e-3", "--out", str(tmp_path / "run")]) == 0
    kept = file.read_bytes()
    graph = nir.read(file)
    graph.nodes["lif"].tau[0] *= 2
    nir.write(file, graph)
    assert "has changed since" in refused(capsys, "evaluate", tmp_path / "run")
    file.unlink()
    assert "put it back" in refused(capsys, "evaluate", tmp_path / "run")
    file.write_bytes(kept)
    assert run(["evaluate", str(tmp_path / "run")]) == 0
