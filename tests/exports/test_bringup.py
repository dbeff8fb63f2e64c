"""The loop without hardware: programmed on a device model, measured, imported."""

from __future__ import annotations

import pytest
import torch

from exports.bringup import simulate_bringup
from exports.hdf5.read import open_hardware_file
from exports.programming.chip import Chip, Programming
from exports.restore import rebuild_learner, replace_matrices
from exports.verify import verify_file
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from tests.exports.learners import exported, recipe


def measured(tmp_path, device, **how):
    if not (tmp_path / "x.h5").exists():
        exported(tmp_path / "x.h5")
    with open_hardware_file(tmp_path / "x.h5") as stored:
        return simulate_bringup(stored, build("device", device), tmp_path / "m.h5", Programming(**how))


def failing(path):
    return {check.name: check.detail for check in verify_file(path) if not check.ok}


@pytest.mark.long
def test_a_perfect_chip_holds_what_it_was_given(tmp_path):
    found = measured(tmp_path, "digital")
    assert all(one.within == one.devices and one.rounds == 0 for one in found)
    assert not failing(tmp_path / "m.h5")
    again = rebuild_learner(recipe(seed=3))
    with open_hardware_file(tmp_path / "x.h5") as first, open_hardware_file(tmp_path / "m.h5") as stored:
        path = "layers/dense1/weight"
        state = {path: "network:layers.dense1.synapses.weight.weight"}
        replace_matrices(again, stored, state, source="conductance", keep_scale=True, least_cosine=-1)
        w = again.network.layer("dense1").synapses.stored()["weight"]
        assert torch.allclose(w, first.tensor(path), atol=1e-6)


SLOW = [pytest.param(device, marks=pytest.mark.slow) for device in ("reram_wan", "reram_es")]


@pytest.mark.long
@pytest.mark.parametrize("device", ["pcm", *SLOW])
def test_write_verify_brings_devices_nearer(tmp_path, device):
    once, often = (
        sum(one.within for one in measured(tmp_path, device, rounds=rounds, seed=1))
        for rounds in (0 if device != "reram_es" else 1, 20)
    )
    assert often > 1.05 * once
    found = failing(tmp_path / "m.h5")
    assert set(found) <= {"tolerance", "probes"}
    assert "devices are out of tolerance, the worst: " in found["tolerance"]


@pytest.mark.long
def test_stuck_devices_are_named_by_address(tmp_path):
    measured(tmp_path, "stuck(low=0.0, high=0.01)", rounds=2)
    said = failing(tmp_path / "m.h5")["tolerance"]
    with open_hardware_file(tmp_path / "m.h5") as stored:
        far = 0
        for path in stored.tiled():
            for _, own, planes in stored.tiles(path):
                far += sum(
                    int(((planes[k] - planes[f"target_{k}"]).abs() > own["tolerance"]).sum()) for k in ("plus", "minus")
                )
    assert said.startswith(f"{far} of ")
    assert " tile " in said
    assert "uS" in said


@pytest.mark.long
def test_the_same_seed_gives_the_same_chip(tmp_path):
    values = []
    for seed in (1, 1, 2):
        measured(tmp_path, "pcm", rounds=1, seed=seed)
        with open_hardware_file(tmp_path / "m.h5") as stored:
            values.append(stored.tensor("layers/dense2/weight"))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_what_cannot_play_is_refused(tmp_path):
    with pytest.raises(NeurofaError, match="outer products only"):
        Chip(build("device", "pulse_trains"))
    with pytest.raises(NeurofaError, match="raise them"):
        Programming(reads=0)
    exported(tmp_path / "x.h5", mapping=None)
    with (
        open_hardware_file(tmp_path / "x.h5") as stored,
        pytest.raises(NeurofaError, match=r"without conductances.*--tile"),
    ):
        simulate_bringup(stored, build("device", "pcm"), tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()
