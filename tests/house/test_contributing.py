"""CONTRIBUTING.md: every file that it shows works on its shelf, and its rooms are those of the import contracts."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from exports.describe.learners import describe_learner
from exports.graph.nodes import DenseNode
from exports.hdf5.write import Content, write_hdf5
from exports.onnx.builder import write_onnx
from exports.onnx.inference import inference_graph
from exports.onnx.learning import learning_graph
from exports.programming.conductances import TileMapping
from exports.programming.probes import probe_learner
from exports.verify import verify_file
from hwmodels.registry import build, parts, shelves
from hwmodels.testing import check_device
from neurofa import Learner, Network
from neurofa.audit.step import audit
from neurofa.layers import Dense, Flatten
from neurofa.testing import check_feedback, check_layer

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
FILES = dict(SHOWN)
KINDS = {
    "rules": "rule",
    "layers": "layer",
    "devices": "device",
    "feedbacks": "feedback",
    "papers": "experiment",
    "data": "data",
}


@pytest.fixture(scope="module", autouse=True)
def shown(tmp_path_factory):
    """Put every file of the document on its shelf, from a temporary folder, for the tests of this module."""
    for kind in KINDS.values():
        parts(kind)
    folder, before = tmp_path_factory.mktemp("contributing"), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelves, "_PARTS", {kind: dict(known) for kind, known in shelves._PARTS.items()})
        patch.setattr(shelves, "_LOADED", shelves._LOADED - set(KINDS.values()))
        for name, source in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
            shelf = importlib.import_module(".".join(Path(name).parts[:-1]))
            if str(path.parent) not in shelf.__path__:
                patch.setattr(shelf, "__path__", [*shelf.__path__, str(path.parent)])
        yield
        for name in FILES:
            module = ".".join(Path(name).with_suffix("").parts)
            parent, _, leaf = module.rpartition(".")
            sys.modules.pop(module, None)
            vars(sys.modules[parent]).pop(leaf, None)
    assert {name for name in set(sys.modules) - before if name.replace(".", "/") + ".py" in FILES} == set()


def trained(layers=None, rule="dfa", device="digital", steps=30):
    """A learner of the digits, and the share of correct answers on the training data."""
    data = build("data", "digits")
    layers = layers or [Flatten(), Dense(64, 24, activation="tanh"), Dense(24, 10)]
    network = Network(layers, data.input_shape, seed=0, device=device)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    x, y = data.train.x[:400], data.train.y[:400]
    for _ in range(steps):
        for part in range(0, len(x), 20):
            learner.step(x[part : part + 20], y[part : part + 20])
    return learner, float((learner.evaluate(x).argmax(1) == y).float().mean())


def require_sound(path, learner, model):
    checks = verify_file(path, learner, model)
    assert {"opens", "against"} <= {check.name for check in checks}
    assert [check for check in checks if not check.ok] == []


def export(learner, folder, rule="dfa", mapping=None):
    """Write HDF5 and the ONNX inference graph, verify both, and return the neutral graph."""
    model = describe_learner(learner, rule, {"seed": 0})
    write_hdf5(
        folder / "network.h5", model, probe_learner(learner, count=2, repeats=2, seed=0), Content(mapping=mapping)
    )
    write_onnx(inference_graph(model), folder / "inference.onnx")
    for name in ("network.h5", "inference.onnx"):
        require_sound(folder / name, learner, model)
    return model


def test_every_python_block_is_a_file_of_fewer_than_fifty_lines():
    assert len(FILES) == len(SHOWN) == TEXT.count("```python") == 7
    for source in FILES.values():
        assert ast.get_docstring(ast.parse(source))
        assert source.count("\n") < 50


def test_files_lie_where_no_file_lies_yet():
    for name in FILES:
        assert (ROOT / name).parent.is_dir() or not (ROOT / "neurofa").is_dir()
        assert not (ROOT / name).exists()


def test_the_rule_learns_and_is_local(tmp_path):
    from neurofa.rules import RootDFA

    learner, accuracy = trained(rule=RootDFA())
    assert accuracy > 0.9
    export(learner, tmp_path, "root_dfa")
    report = audit("root_dfa", learner.network, torch.randn(6, 1, 8, 8), torch.arange(6))
    assert report.agrees
    assert report.local


@pytest.mark.sample(1)
@pytest.mark.parametrize("rule", ["dfa", "fa", "kp"])
def test_the_layer_learns_by_direct_and_chained_rules(tmp_path, rule):
    from neurofa.layers import Gated

    learner, accuracy = trained([Flatten(), Gated(64, 24), Gated(24, 16), Dense(16, 10)], rule)
    assert accuracy > 0.9
    export(learner, tmp_path, rule)
    report = audit(rule, learner.network, torch.randn(6, 1, 8, 8), torch.arange(6))
    assert report.agrees


def test_the_layer_keeps_the_contract():
    check_layer("gated")


def test_the_device_learns_and_its_conductances_are_exported(tmp_path):
    learner, accuracy = trained(device="saturating")
    assert accuracy > 0.9
    check_device(build("device", "saturating"))
    model = export(learner, tmp_path, mapping=TileMapping(tile=(32, 32)))
    assert model.nodes[1].weight.conductance == pytest.approx((1e-6, 20e-6))


def test_the_feedback_teaches(tmp_path):
    learner, accuracy = trained(rule="dfa(feedback=two_valued)")
    assert accuracy > 0.9
    check_feedback("two_valued")
    model = export(learner, tmp_path, "dfa(feedback=two_valued)")
    assert model.feedback.matrix.values.abs().unique().numel() == 1


def test_the_data_are_learnt():
    from experiments.data import clouds

    data = clouds(samples=100)
    assert build("data", "clouds(samples=100)").provenance == data.provenance == {"origin": "synthetic", "seed": "0"}
    network = Network([Dense(2, 2)], data.input_shape, seed=0)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    history = learner.fit((data.train.x, data.train.y), validation=(data.test.x, data.test.y), epochs=20)
    assert history.best()["validation_accuracy"] > 0.9


def test_the_experiment_is_answered(tmp_path):
    result = conduct(build("experiment", "coarse_errors(epochs=2)"), Setup(folder=tmp_path, seeds=1, workers=0))
    assert {row["method"] for row in result["rows"]} == {"dfa", "tdfa", "sdfa", "readout_only"}
    assert len(result["checks"]) == 3


def test_the_layer_that_describes_itself_has_a_node_and_a_learning_graph(tmp_path):
    from neurofa.layers import Rectified

    learner, accuracy = trained([Flatten(), Rectified(64, 24), Dense(24, 10)])
    assert accuracy > 0.9
    check_layer("rectified")
    model = export(learner, tmp_path)
    assert isinstance(model.nodes[1], DenseNode)
    assert model.nodes[1].activation == "relu"
    write_onnx(learning_graph(model), tmp_path / "learning.onnx")


def contracts():
    """Floors of every package by the contracts of the import linter."""
    pytest.importorskip("tomllib")
    return runpy.run_path(str(ROOT / "docs" / "rooms.py"))


def test_the_table_of_rooms_is_that_of_the_contracts():
    floors = contracts()["floors"]
    for package in contracts()["PACKAGES"]:
        (line,) = re.findall(rf"^\| `{package}` \| (.*) \|$", TEXT, flags=re.MULTILINE)
        shown_floors = [re.findall(r"`(\w+)`", floor) for floor in line.split(" > ")]
        assert shown_floors == floors(package)


def test_the_picture_of_rooms_is_up_to_date():
    assert (ROOT / "docs" / "rooms.svg").read_text(encoding="utf-8") == contracts()["picture"]()
