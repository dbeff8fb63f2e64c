"""The ledger of writes in runs."""

import pytest
import torch

from experiments.runs.run import RunSpec, train_run
from hwmodels.registry import build
from neurofa.costs.writes import write_counts


def run(device, **more):
    spec = RunSpec(data="teacher(samples=64)", network="mlp(hidden=[5])", device=device, epochs=2, loss="mse", **more)
    return train_run(spec)


def test_rows_hold_the_writes_of_every_matrix_and_they_grow():
    rows = run("wear(device=constant_step, endurance=1e999)").rows
    first, last = rows[0]["pulses"], rows[1]["pulses"]
    assert set(first) == {"dense0.weight", "dense1.weight"}
    for name, count in first.items():
        assert 0 < count["mean"] <= count["largest"] < last[name]["largest"]
        assert count["worn_out"] == 0
    assert "pulses" not in run("constant_step").rows[0]


def test_devices_that_are_worn_out_are_told():
    network = build(
        "network", "mlp(hidden=[3])", input_shape=(4,), outputs=2, device="wear(device=digital, endurance=2)"
    )
    assert {count.worn_out for count in write_counts(network).values()} == {0.0}
    synapses = network.layer("dense0").synapses["weight"]
    for _ in range(3):
        synapses.write(torch.ones_like(synapses.weight) * torch.tensor([1.0, 0, 0, 0]), torch.Generator())
    assert write_counts(network)["dense0.weight"] == pytest.approx((0.5, 2, 0.25))
