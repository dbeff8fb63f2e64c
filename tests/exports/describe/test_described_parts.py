"""Parts that describe nothing, and parts with units and figures of their own: their files, costs and chip checks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from exports.describe.learners import describe_learner
from exports.graph.arrays import Matrix
from exports.hdf5.read import open_hardware_file
from exports.hdf5.write import Content, stored_arrays, write_hdf5
from exports.programming.conductances import TileMapping
from exports.programming.probes import probe_learner
from exports.restore import restore_learner
from exports.verify import verify_file
from hwmodels.description import DeviceDescription, TensorDescription
from hwmodels.device import Device
from hwmodels.device_models.pulsed import Pulsed
from hwmodels.figures import CostLine, CostReport, Figure, Technology
from hwmodels.projection import Projection
from hwmodels.registry import build, parts, shelves
from neurofa.chips.fit import check_limits
from neurofa.chips.requirements import requirements_of
from neurofa.core.capabilities import Declaration
from neurofa.core.dynamics import Dynamics
from neurofa.core.feedback import Feedback
from neurofa.core.rule import Rule
from neurofa.costs.energy import update_costs
from neurofa.costs.flops import step_flops
from neurofa.costs.memory import step_memory
from neurofa.costs.writes import writes_per_update
from neurofa.spiking.neuron import Neuron
from neurofa.training.learner import Learner

PHASES = {"phase": TensorDescription(meaning="phase of each path", unit="rad", axes="(n_errors, m)")}
READ = Figure(low=1e-15, high=2e-15, unit="J", source="this test", verified="read")


@pytest.fixture(autouse=True)
def _own_parts():
    """Remove the parts of a test from the registry after it."""
    kinds = ("device", "feedback", "layer", "neuron", "projection", "rule")
    before = {kind: set(parts(kind)) for kind in kinds}
    yield
    for kind, names in before.items():
        for name in set(parts(kind)) - names:
            del shelves._PARTS[kind][name]


def batches(shape, count=2):
    gen = torch.Generator().manual_seed(5)
    return [(torch.randn(8, *shape, generator=gen), torch.arange(8) % 4) for _ in range(count)]


def trained(network, rule):
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for x, target in batches(network.input_shape):
        learner.step(x, target)
    after = network.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(before[key], after[key]) for key in before)
    return learner


def mlp(device="digital"):
    return build("network", "mlp(hidden=[6])", input_shape=(5,), outputs=4, seed=0, device=device)


def exported(tmp_path, learner, again, rule):
    """Write a learner to HDF5, verify the file, restore it into a second learner, and return the model."""
    model, path = describe_learner(learner, rule, {}), tmp_path / "part.h5"
    content = Content(mapping=TileMapping(tile=(8, 8)))
    write_hdf5(path, model, probe_learner(learner, count=2, repeats=2, seed=0), content)
    checks = verify_file(path, learner)
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    twin = Learner(again, rule, optimizer=torch.optim.SGD(again.parameters(), lr=0.1), seed=3)
    with open_hardware_file(path) as file:
        restore_learner(twin, file)
    for key, value in learner.network.state_dict().items():
        assert torch.equal(twin.network.state_dict()[key], value), key
    return model


def accounted(learner, writes=None):
    """Return the costs of an update by part and quantity and the gaps, after all other accounts have been taken."""
    assert step_flops(learner, batch_size=8).total > 0
    assert sum(step_memory(learner, batch_size=8).values()) > 0
    findings = check_limits(build("profile", "loihi1"), requirements_of(learner, batch_size=8))
    assert {finding.verdict for finding in findings} >= {"holds"}
    report = update_costs(learner.network, learner.rule, 8, writes)
    return {(line.part, line.what): line for line in report.lines}, report.missing


def test_a_device_that_says_nothing_more(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Ladder(Device, name="ladder"):
        step: float = 1 / 64

        def program(self, target, gen=None):
            return {"level": (target / self.step).round().clamp(-64, 64)}

        def value(self, cells):
            return cells["level"] * self.step

        def write(self, cells, change, gen=None):
            return {"level": (cells["level"] + change / self.step).round().clamp(-64, 64)}

    learner = trained(mlp("ladder"), "dfa(feedback=dense(device=ladder))")
    model = exported(tmp_path, learner, mlp("ladder(step=0.015625)"), "dfa(feedback=dense(device=ladder))")
    assert {array.device for _, array in stored_arrays(model) if isinstance(array, Matrix)} == {"ladder(step=0.015625)"}
    lines, missing = accounted(learner)
    assert lines["forward", "weights read"].low == 8 * (5 * 6 + 6 * 4)
    assert "forward: read energy of ladder: no figure" in missing


def test_a_device_with_conductances_pulses_and_figures(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Memtransistor(Pulsed, name="memtransistor"):
        w_max: float = 0.8
        w_min: float = -0.8

        def pulse_moments(self, v, n, step, rise, cells):
            return step * (1 - v.abs() / 2), step.square() * n

        def describe(self) -> DeviceDescription:
            figures = Technology(read_energy=READ, write_energy=READ)
            return replace(super().describe(), technology="memtransistor", figures=figures, conductance=(1.0, 25.0))

    learner = trained(mlp("memtransistor"), "dfa")
    model = exported(tmp_path, learner, mlp("memtransistor"), "dfa")
    assert model.nodes[0].weight.conductance == pytest.approx((1e-6, 25e-6))
    with open_hardware_file(tmp_path / "part.h5") as file:
        assert "S" in {file.attributes(path).get("unit") for path in file.datasets()}
    writes = writes_per_update(trained(mlp("memtransistor"), "dfa"), batches((5,)))
    lines, _ = accounted(learner, writes)
    assert lines["forward", "energy of the cells"].high == pytest.approx(8 * (5 * 6 + 6 * 4) * 2e-15)
    total = lines["update", "pulses of all weights"].low
    assert lines["update", "energy of the writes"].low == pytest.approx(total * 1e-15)


def test_a_neuron(tmp_path):
    class Tired(Neuron, name="tired"):
        memories = ("mem",)
        leaves = ("u",)

        def tick(self, current, state):
            u = state["mem"] * 0.5 + current
            return (u > 1).to(u.dtype).detach(), {"u": u.detach()}, {"mem": u}

        def dynamics(self, left, psi=None):
            return Dynamics([[0.5]], [1.0], [self.derivative(left, left["u"]) if psi is None else psi])

        def derivative(self, left, like):
            return 1 / (1 + (left["u"] - 1).square())

    def network():
        return build("network", "snn(hidden=[6], neuron=tired)", input_shape=(5,), outputs=4, seed=0)

    learner = trained(network(), "dfa")
    model = exported(tmp_path, learner, network(), "dfa")
    assert "'tired' do not describe" in model.nodes[0].reason
    lines, _ = accounted(learner)
    assert lines["forward", "products of weight and input"].low == 8 * (5 * 6 + 6 * 4)


def test_a_feedback_that_says_nothing_more(tmp_path):
    class Repeated(Feedback, name="repeated"):
        def _open(self, sites, outputs, gen):
            self.register_buffer("signs", torch.randn(self.stack(sites), generator=gen).sign())

        def project(self, error, gen=None):
            return error.sum(1, keepdim=True) * self.signs

    rule = "dfa(feedback=repeated)"
    learner = trained(mlp(), rule)
    model = exported(tmp_path, learner, mlp(), rule)
    assert model.feedback.rule == "repeated"
    assert "rule:feedback.signs" in model.more
    lines, _ = accounted(learner)
    assert lines["feedback", "products of B and error"].low == 8 * 4 * 6


def test_a_projection(tmp_path):
    class Speckle(Projection, name="speckle"):
        tensors = PHASES

        def _open(self, gen):
            self.register_buffer("phase", torch.rand(self.n_in, self.n_out, generator=gen) * 6.28)

        def effective(self):
            return self.phase.cos() * self.std

        def forward(self, error, gen=None):
            return self.clean(error)

        def pass_costs(self, vectors):
            return CostReport((CostLine.scaled("energy of the light", vectors, READ, "vectors × energy"),))

    rule = "dfa(feedback=speckle(gain=2.0))"
    learner = trained(mlp(), rule)
    model = exported(tmp_path, learner, mlp(), rule)
    assert model.feedback.hardware.parameters["phase"].unit == "rad"
    assert model.feedback.hardware.constants == {"gain": 2.0}
    lines, _ = accounted(learner)
    assert lines["feedback", "energy of the light"].low == pytest.approx(8e-15)


def test_a_rule_that_says_nothing_more(tmp_path):
    class Constant(Rule, name="constant"):
        @property
        def declares(self):
            return Declaration()

        def deliver(self, name, teaching):
            return teaching.error.new_full((len(teaching.error), 6), 0.01)

    learner = trained(mlp(), "constant")
    model = exported(tmp_path, learner, mlp(), "constant")
    assert model.feedback.rule == "constant"
    _, missing = accounted(learner)
    assert "feedback: signals of constant: not modelled" in missing
