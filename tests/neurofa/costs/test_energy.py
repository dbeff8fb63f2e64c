"""Costs of an update against hand computation, their marks, and the quantities without a figure."""

import math

import pytest
import torch

from hwmodels.figures import TECHNOLOGIES
from hwmodels.registry import build, parts
from neurofa.core.network import Network
from neurofa.costs.energy import update_costs
from neurofa.costs.writes import UpdateWrites, write_counts, writes_per_update
from neurofa.training.learner import Learner


def learner(rule="dfa", device="digital", hidden=(20, 30)):
    network = build("network", f"mlp(hidden={list(hidden)})", input_shape=(12,), outputs=4, seed=0, device=device)
    assert isinstance(network, Network)
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


def table(rule="dfa", device="digital", batch=8, **more):
    student = learner(rule, device)
    report = update_costs(student.network, student.rule, batch, **more)
    return {(line.part, line.what): line for line in report.lines}, report.missing


CONNECTIONS = 12 * 20 + 20 * 30 + 30 * 4


def test_products_are_counted():
    lines, missing = table()
    assert lines["forward", "products of weight and input"].low == 8 * CONNECTIONS
    assert lines["feedback", "products of B and error"].low == 8 * 4 * 50
    assert {cost.sure for cost in lines.values()} == {"counted"}
    assert any("no figure without a chip" in line for line in missing)
    lines, _ = table("fa")
    assert lines["feedback", "products of return weight and error"].low == 8 * (20 * 30 + 30 * 4)
    assert not [part for part, _ in table("readout_only")[0] if part == "feedback"]


def test_positions_of_a_kernel_are_products_one_after_the_other():
    network = build("network", "cnn", input_shape=(1, 8, 8), outputs=4, device="pcm")
    student = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    lines = {line.what: line for line in update_costs(network, student.rule, 2).lines if line.part == "forward"}
    positions = sum(
        math.prod(network.shapes[name][1:]) for name in network.names if "weight" in network.layer(name).synapses
    )
    assert lines["products of arrays"].low == 2 * positions
    assert lines["time of the reads"].low == pytest.approx(2 * positions * 250e-9)
    assert lines["time of the reads"].sure == "read"


def test_a_digital_chip_has_the_energy_of_its_operations():
    lines, missing = table("dfa", "fixed(bits=8)", chip=build("profile", "reckon"))
    assert lines["forward", "energy on reckon"].low == pytest.approx(8 * CONNECTIONS * 5.3e-12)
    assert lines["feedback", "energy on reckon"].high == pytest.approx(8 * 4 * 50 * 5.3e-12)
    assert lines["forward", "energy on reckon"].sure == "read"
    lines, missing = table("dfa", "fixed(bits=8)", chip=build("profile", "loihi1"))
    assert ("forward", "energy on loihi1") not in lines
    assert "forward: energy on loihi1: no figure" in missing


def test_the_optical_processor_by_hand():
    lines, _ = table("dfa(feedback=opu(detection=anchors))")  # 2 images of 3 frames
    assert lines["feedback", "camera frames"].low == 8 * 6
    time = lines["feedback", "time of the frames"]
    assert (time.low, time.sure) == (pytest.approx(8 * 6 / 1900), "remembered")
    energy = lines["feedback", "energy, at most"]
    assert (energy.low, energy.unit, energy.sure) == (None, "J", "read")
    assert energy.high == pytest.approx(30 * 8 * 6 / 1900)
    given = table("dfa(feedback=opu(frame_rate=100.0))")[0]["feedback", "time of the frames"]
    assert (given.low, given.sure) == (pytest.approx(8 * 2 / 100), "given")


def test_the_microring_bank_by_hand():
    lines, _ = table("dfa(feedback=microring)")
    assert lines["feedback", "products with a bank"].low == 8  # 4 x 50 fits one bank of 20 x 50
    assert lines["feedback", "time of the bank"].low == pytest.approx(8e-10)
    energy = lines["feedback", "energy"]
    assert (energy.low, energy.high) == pytest.approx((2 * 8 * 4 * 50 * 0.28e-12, 2 * 8 * 4 * 50 * 1e-12))
    assert energy.sure == "remembered"


def test_a_crossbar_in_pieces_by_hand():
    lines, missing = table("dfa(feedback=crossbar(device=hermes, rows=2))")
    assert lines["feedback", "conversions (ADC)"].low == 8 * 50 * 2
    assert lines["feedback", "time of the reads"].low == pytest.approx(8 * 512e-9)
    assert "feedback: read energy of hermes: no figure" in missing
    assert "feedback: programming B, once and not at every update" in missing


def test_the_ferroelectric_transistor_by_hand():
    writes = {"dense0.weight": UpdateWrites(0.5, 2.0, 3.0), "dense1.weight": UpdateWrites(0.25, 4.0, 5.0)}
    lines, _ = table("dfa", "nonlinear_update", writes=writes)
    energy = lines["forward", "energy of the cells"]
    assert energy.high == pytest.approx(8 * CONNECTIONS * 0.5**2 / 240e3 * 10e-9)
    assert energy.low == pytest.approx(energy.high / 100)
    pulses = 0.5 * 12 * 20 + 0.25 * 20 * 30
    assert lines["update", "pulses of all weights"].low == pytest.approx(pulses)
    assert lines["update", "pulses of a weight, mean"].low == pytest.approx(pulses / (12 * 20 + 20 * 30))
    assert lines["update", "energy of the writes"].high == pytest.approx(pulses * 4**2 / 240e3 * 50e-9)
    assert lines["update", "time of the writes, at least"].low == pytest.approx(5 * 50e-9)
    life = lines["life", "updates of the busiest weight"]
    assert (life.low, life.high, life.sure) == (pytest.approx(1e5 / 4), pytest.approx(1e10 / 4), "remembered")
    assert lines["update", "energy of the writes"].sure == "read"


def test_write_verify_programs_all_devices_of_a_weight():
    writes = {"dense0.weight": UpdateWrites(1.0, 1.0, 1.0)}
    for device, devices in (("pcm", 2), ("hermes", 4), ("hermes(devices=1)", 2)):
        lines, missing = table("dfa", device, writes=writes)
        assert lines["update", "energy of the writes"].high == pytest.approx(240 * devices * 100e-12)
        assert any("write-verify" in line for line in missing)
    open_ended = table("dfa", "ecram", writes=writes)[0]["life", "updates of the mean weight"]
    assert (open_ended.low, open_ended.high) == (1e8, None)


def test_no_figure_is_made_up():
    for device in ("constant_step", "capacitor", "idealized"):
        lines, missing = table("dfa", device, writes={"dense0.weight": UpdateWrites(1.0, 1.0, 1.0)})
        assert not [what for part, what in lines if "energy" in what or "time" in what or part == "life"]
        assert f"update: write energy, write time and endurance of {device}: no technology, no figure" in missing
    for rule in ("dfa(feedback=mzi)", "dfa(feedback=matrix_free)"):
        name = rule.split("=")[1].strip(")")
        assert f"feedback: energy and time of {name}: no figure" in table(rule)[1]
    assert "update: writes of tiki_taka: not counted" in table("dfa", "tiki_taka")[1]
    for figure in (f for each in TECHNOLOGIES.values() for f in vars(each).values() if f is not None):
        assert figure.source
        assert figure.verified in ("read", "second-hand", "remembered")


@pytest.mark.parametrize("name", parts("device"))
def test_every_device_has_a_table(name):
    lines, missing = table("dfa", name)
    assert lines["forward", "products of weight and input"].sure == "counted"
    assert missing


# writes of an update


def batches(n=3):
    gen = torch.Generator().manual_seed(3)
    return [(torch.randn(8, 12, generator=gen), torch.arange(8) % 4) for _ in range(n)]


@pytest.mark.parametrize(
    "device",
    [
        "reram_es",
        "pcm",
        "stuck(device=reram_es)",
        "mixed_precision(device=pcm, threshold=0.002)",
        "pcm_gst",
        "mixed_precision(device=reram_es)",
        "pulse_trains(device=constant_step)",
        "wear(device=reram_es)",
    ],
)
def test_a_ledger_changes_nothing_but_counts(device):
    plain, counted = learner(device=device), learner(device=device)
    counted.network.load_state_dict(plain.network.state_dict())
    writes = writes_per_update(counted, batches())
    for x, target in batches():
        plain.step(x, target)
    for name in ("dense0", "dense1", "dense2"):
        same = (
            plain.network.layer(name).synapses["weight"].weight,
            counted.network.layer(name).synapses["weight"].weight,
        )
        torch.testing.assert_close(*same, rtol=0, atol=1e-6)
        assert writes[f"{name}.weight"].mean <= writes[f"{name}.weight"].busiest <= writes[f"{name}.weight"].peak
    assert any(each.mean > 0 for each in writes.values())


def test_counts_are_those_of_a_device_that_keeps_a_ledger_by_itself():
    a, b = learner(device="reram_es"), learner(device="wear(device=reram_es, endurance=1e999)")
    writes = writes_per_update(a, batches())
    for x, target in batches():
        b.step(x, target)
    for name, count in write_counts(b.network).items():
        assert writes[name].mean == pytest.approx(count.mean / 3)
        assert writes[name].busiest == pytest.approx(count.largest / 3)


def test_digital_memory_has_no_ledger():
    for device in ("digital", "fixed(bits=4)", "gaussian"):
        student = learner(device=device)
        assert writes_per_update(student, batches(1)) == {}
