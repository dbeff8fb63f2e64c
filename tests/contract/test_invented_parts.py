"""One file is enough: a new part of every kind trains, is exported, verified, counted, checked and audited.

Each part is written as one file into a temporary folder, and registered from there; no other file knows it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest
import torch

from experiments.cli import run as command
from experiments.exporting.files import Wanted, export
from experiments.exporting.load import load_run
from experiments.reports.chips import build_profile, chip_findings
from experiments.runs.run import train_run
from experiments.runs.spec import RunSpec
from experiments.speed.suite import measure_case
from experiments.sweeps.experiment import conduct
from experiments.sweeps.study import Setup
from exports.programming.conductances import Mapping
from exports.verify import verify
from hwmodels.registry import build, kinds, parts, shelves
from hwmodels.testing import check_device, check_format
from neurofa.audit.step import audit
from neurofa.costs.flops import cost
from neurofa.testing import check_feedback, check_layer, check_network, check_neuron, check_rule, check_surrogate
from neurofa.training.learner import Learner
from tests.contract.invented_sources import SOURCES

SNN = {"data": "encoded(data=digits(subset=60), ticks=5)", "network": "snn(hidden=[8])", "rule": "eprop"}

RUNS: dict[str, dict[str, object]] = {
    "activation": {"network": "mlp(hidden=[6, 5], activation=invented_activation)"},
    "camera": {"rule": "dfa(feedback=opu(camera=invented_camera))"},
    "data": {},
    "detection": {"rule": "dfa(feedback=opu(detection=invented_detection))"},
    "device": {"device": "invented_device"},
    "encoder": SNN | {"data": "encoded(data=digits(subset=60), encoder=invented_encoder, ticks=5)"},
    "feedback": {"rule": "dfa(feedback=invented_feedback)"},
    "format": {"rule": "dfa(error=invented_format)"},
    "layer": {"network": "invented_network(layer=invented_layer)"},
    "loss": {"loss": "invented_loss"},
    "network": {"network": "invented_network"},
    "neuron": SNN | {"network": "snn(hidden=[8], neuron=invented_neuron)"},
    "nonlinearity": {"rule": "adfa(g=invented_nonlinearity)"},
    "norm": {"network": "mlp(hidden=[6, 5], norm=invented_norm)"},
    "optimizer": {"optimizer": "invented_optimizer(lr=0.05)"},
    "periphery": {"periphery": "invented_periphery"},
    "projection": {"rule": "dfa(feedback=invented_projection)"},
    "rule": {"rule": "invented_rule"},
    "schedule": {"schedule": "invented_schedule"},
    "surrogate": SNN | {"network": "snn(hidden=[8], neuron=lif(surrogate=invented_surrogate))"},
}
"""What a run with the part changes; the kinds that are missing are no part of a run and have tests of their own."""

STATIC = {"network.h5", "tiles", "inference.onnx", "inference_int8.onnx", "feedback.onnx", "learning.onnx"}
SPIKING = {"network.h5", "tiles", "step.onnx", "loop.onnx", "feedback.onnx", "feedback.nir"}
BLOCK = {"learning.onnx": "got a block at"}
FORMAT = {"feedback.onnx": "got errors in the format", "learning.onnx": "got errors in the format"}
MEMORY = {"learning.onnx": "eligibility traces are not written out", "forward.nir": "expected reset to zero"}
NOT_LINEAR = {"feedback.onnx": "without a linear map", "learning.onnx": "without a linear map"}
REFUSED: dict[str, dict[str, str]] = {
    "activation": BLOCK,
    "detection": NOT_LINEAR,
    "device": {"learning.onnx": "writes to a device draw random numbers"},
    "encoder": MEMORY,
    "format": FORMAT,
    "layer": BLOCK,
    "loss": {"learning.onnx": "got loss 'invented_loss'"},
    "neuron": MEMORY,
    "nonlinearity": {"learning.onnx": "got g=invented_nonlinearity"},
    "norm": BLOCK,
    "surrogate": MEMORY,
}
"""Files that cannot say the part, with words of the reason; every other file of its network is written."""


@pytest.fixture(scope="module", autouse=True)
def invented(tmp_path_factory):
    """Register one part of each kind for the tests of this module."""
    for kind in kinds():
        parts(kind)  # what the shelves hold stays registered afterwards
    folder = tmp_path_factory.mktemp("invented")
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelves, "_PARTS", {kind: dict(known) for kind, known in shelves._PARTS.items()})
        for kind, source in SOURCES.items():
            path = folder / f"invented_{kind}.py"
            path.write_text(f'"""A new part: {kind}."""\n{source}')
            spec = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, path.stem, module)
            spec.loader.exec_module(module)
        yield
    assert not {name for name in set(sys.modules) - before if name.startswith("invented_")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs by kind of the invented part in them, each made when a test asks for it first."""
    done = {}

    def finished(kind):
        if kind not in done:
            fields = {"data": "invented_data", "network": "mlp(hidden=[6, 5])", "epochs": 2} | RUNS[kind]
            spec, folder = RunSpec(**fields), tmp_path_factory.mktemp(kind) / "run"
            result = train_run(spec, folder)
            held = load_run(folder)
            done[kind] = SimpleNamespace(spec=spec, result=result, held=held, learner=held.learner)
        return done[kind]

    return finished


def test_every_kind_has_an_invented_part():
    assert set(SOURCES) == set(kinds())
    for kind in kinds():
        assert f"invented_{kind}" in parts(kind)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_command_lists_it(kind, capsys):
    assert command(["list", kind, "--json"]) == 0
    listed = {part["name"]: part for part in json.loads(capsys.readouterr().out)[kind]}
    assert listed[f"invented_{kind}"]["description"]


@pytest.mark.parametrize("kind", RUNS)
def test_it_trains(runs, kind):
    rows = runs(kind).result.rows
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


@pytest.mark.parametrize("kind", RUNS)
def test_it_is_exported_and_every_file_is_verified(runs, kind, tmp_path):
    held = runs(kind).held
    model = held.model()
    inputs = None if model.spiking else held.dataset.validation.x
    written = export(held, model, Wanted(format="all", mapping=Mapping(tile=(8, 8)), inputs=inputs), tmp_path)
    refused = REFUSED.get(kind, {})
    assert {name: refused.get(name, "") for name in written.refused} == refused, written.refused
    for name, words in refused.items():
        assert words in written.refused[name]
    assert {path.name for path in written.files} == (SPIKING if model.spiking else STATIC) - set(refused)
    for path in written.files:
        if path.is_file():
            checks = verify(path, held.learner, model)
            assert {check.name for check in checks} >= {"opens"}
            assert [check for check in checks if not check.ok] == []


CHECKS = {
    "device": lambda name: check_device(build("device", name)),
    "feedback": check_feedback,
    "format": lambda name: check_format(build("format", name)),
    "layer": check_layer,
    "network": check_network,
    "neuron": check_neuron,
    "rule": check_rule,
    "surrogate": check_surrogate,
}


@pytest.mark.parametrize("kind", CHECKS)
def test_it_keeps_the_contract_of_its_kind(kind):
    CHECKS[kind](f"invented_{kind}")


@pytest.mark.parametrize("kind", RUNS)
def test_its_products_are_counted(runs, kind):
    learner = runs(kind).learner
    found = cost(learner, batch_size=4)
    assert found.flop > 0
    assert found.memory["weights"] > 0
