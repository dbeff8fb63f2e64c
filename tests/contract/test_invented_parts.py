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

from experiments.cli import run_command
from experiments.exporting.files import ExportRequest, write_export
from experiments.exporting.load import load_run
from experiments.reports.chips import build_profile, chip_findings
from experiments.runs.run import train_run
from experiments.runs.spec import RunSpec
from experiments.speed.suite import measure_case
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from exports.programming.conductances import TileMapping
from exports.verify import verify_file
from hwmodels.registry import build, kinds, parts, shelves
from hwmodels.testing import check_device, check_format, check_projection
from neurofa.audit.step import audit
from neurofa.costs.flops import step_flops
from neurofa.costs.memory import step_memory
from neurofa.testing import check_feedback, check_layer, check_network, check_neuron, check_rule, check_surrogate
from tests.contract.invented_sources import SOURCES

SNN = {
    "data": "encoded(data=digits(subset=60), ticks=5)",
    "network": "snn(hidden=[8])",
    "rule": "eprop",
}

RUNS: dict[str, dict[str, str]] = {
    "activation": {"network": "mlp(hidden=[6, 5], activation=invented_activation)"},
    "camera": {"rule": "dfa(feedback=opu(camera=invented_camera))"},
    "data": {},
    "detection": {"rule": "dfa(feedback=opu(detection=invented_detection))"},
    "device": {"device": "invented_device"},
    "encoder": SNN
    | {
        "data": "encoded(data=digits(subset=60), encoder=invented_encoder, ticks=5)",
        "network": "snn(hidden=[8], neuron=lif(threshold=0.2))",  # half of its ticks are empty
    },
    "feedback": {"rule": "dfa(feedback=invented_feedback)"},
    "format": {"rule": "dfa(error=invented_format)"},
    "layer": {"network": "invented_network(layer=invented_layer)"},
    "loss": {"loss": "invented_loss"},
    "network": {"network": "invented_network"},
    "neuron": SNN | {"network": "snn(hidden=[8], neuron=invented_neuron)", "optimizer": "sgd(lr=0.1)"},
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
    "periphery": {"learning.onnx": "got converters around the weights"},
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


def require_sound(checks):
    assert {"opens", "against"} <= {check.name for check in checks}
    assert [check for check in checks if not check.ok] == []


def test_every_kind_has_an_invented_part():
    assert set(SOURCES) == set(kinds())
    for kind in kinds():
        assert f"invented_{kind}" in parts(kind)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_command_lists_it(kind, capsys):
    assert run_command(["list", kind, "--json"]) == 0
    listed = {part["name"]: part for part in json.loads(capsys.readouterr().out)[kind]}
    assert listed[f"invented_{kind}"]["description"]


@pytest.mark.sample(12)
@pytest.mark.parametrize("kind", RUNS)
def test_it_trains(runs, kind):
    rows = runs(kind).result.rows
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


@pytest.mark.sample(3)
@pytest.mark.parametrize("kind", RUNS)
def test_it_is_exported_and_every_file_is_verified(runs, kind, tmp_path):
    held = runs(kind).held
    model = held.model()
    inputs = None if model.spiking else held.dataset.validation.x
    request = ExportRequest(format="all", mapping=TileMapping(tile=(8, 8)), inputs=inputs)
    written = write_export(held, model, request, tmp_path)
    refused = REFUSED.get(kind, {})
    assert {name: refused.get(name, "") for name in written.refused} == refused, written.refused
    for name, words in refused.items():
        assert words in written.refused[name]
    assert {path.name for path in written.files} == (SPIKING if model.spiking else STATIC) - set(refused)
    for path in written.files:
        if path.is_file():
            require_sound(verify_file(path, held.learner, model))


CHECKS = {
    "device": lambda name: check_device(build("device", name)),
    "feedback": check_feedback,
    "format": lambda name: check_format(build("format", name)),
    "layer": check_layer,
    "network": check_network,
    "neuron": check_neuron,
    "projection": check_projection,
    "rule": check_rule,
    "surrogate": check_surrogate,
}


@pytest.mark.parametrize("kind", CHECKS)
def test_it_keeps_the_contract_of_its_kind(kind):
    CHECKS[kind](f"invented_{kind}")


@pytest.mark.parametrize("kind", RUNS)
def test_its_costs_are_counted(runs, kind):
    learner = runs(kind).learner
    flops, memory = step_flops(learner, batch_size=4), step_memory(learner, batch_size=4)
    assert all(flops.by_phase()[phase] > 0 for phase in ("forward", "update"))
    assert all(memory[part] > 0 for part in ("weights", "feedback", "activations"))


@pytest.mark.parametrize("kind", RUNS)
def test_it_is_checked_against_a_chip(runs, kind):
    findings = chip_findings(build_profile("invented_profile"), runs(kind).spec)
    verdicts = {finding.limit: finding.verdict for finding in findings}
    assert set(verdicts) == {"weight_bits", "error_path", "neurons", "fan_in", "error_bits"}
    assert verdicts["error_path"] == "holds"
    assert verdicts["fan_in"] == "broken"


@pytest.mark.parametrize(
    "kind", ["device", "feedback", "format", "layer", "network", "nonlinearity", "projection", "rule"]
)
def test_its_rule_is_as_declared(runs, kind):
    run = runs(kind)
    x, y = run.held.dataset.train.x[:6], run.held.dataset.train.y[:6]
    report = audit(run.spec.rule, run.learner.network, x, y)
    assert report.agrees
    assert report.local


def test_its_conductances_are_written_and_verified(runs, tmp_path):
    held = runs("data").held
    mapping = TileMapping(tile=(8, 8), conductance="invented_conductance(g_max=10.0)")
    model = held.model()
    write_export(held, model, ExportRequest(mapping=mapping), tmp_path / "network.h5")
    require_sound(verify_file(tmp_path / "network.h5", held.learner, model))


def test_its_experiment_is_conducted(tmp_path):
    result = conduct(build("experiment", "invented_experiment"), Setup(folder=tmp_path))
    assert [check["holds"] for check in result["checks"]] == [True]


def test_its_speed_is_measured():
    (case,) = build("speed", "invented_speed").cases()
    rows = measure_case(
        "invented_speed", case, device=torch.device("cpu"), threads=1, seconds=0.01, memory=False, clock="cpu"
    )
    assert [row.method for row in rows] == ["sum", "loop"]


def test_all_of_them_work_together(tmp_path):
    spec = RunSpec(
        data="invented_data",
        network="invented_network(layer=invented_layer)",
        rule="invented_rule(feedback=invented_projection, error=invented_format)",
        device="invented_device",
        optimizer="invented_optimizer",
        schedule="invented_schedule",
        loss="invented_loss",
        epochs=3,
    )
    rows = train_run(spec, tmp_path / "run").rows
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    held = load_run(tmp_path / "run")
    model = held.model()
    write_export(held, model, ExportRequest(), tmp_path / "network.h5")
    require_sound(verify_file(tmp_path / "network.h5", held.learner, model))
