"""Export, import, evaluate: the same outputs, bit for bit, from whole numbers, and from conductances."""

from __future__ import annotations

import h5py
import pytest
import torch

from exports.graph.arrays import Matrix
from exports.hdf5.read import open_hardware_file
from exports.hdf5.write import stored_arrays
from exports.programming.fit import fit_matrix
from exports.restore import rebuild_learner, replace_matrices, restore_learner
from exports.verify import verify_file
from hwmodels.errors import NeurofaError
from tests.exports.learners import exported, learner, model, recipe

RULES = (
    "dfa",
    "ldfa_local",
    "dfa(feedback=microring)",
    "dfa(feedback=mzi)",
    "dfa(feedback=opu)",
    "dfa(feedback=crossbar(device=pcm))",
)


def outputs(found, seed=3):
    found.network.eval()
    x = torch.randn(5, *found.network.input_shape, generator=torch.Generator().manual_seed(seed))
    return found.network(x, torch.Generator().manual_seed(1))


@pytest.mark.sample(6)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", ["mlp", "cnn", pytest.param("vit", marks=pytest.mark.slow)])
def test_float_files_give_back_everything_bit_for_bit(tmp_path, network, rule):
    first = exported(tmp_path / "x.h5", network, rule, numbers=None, mapping=None)
    again = rebuild_learner(recipe(network, rule, seed=7))  # other weights, another feedback
    assert not torch.equal(outputs(first), outputs(again))
    with open_hardware_file(tmp_path / "x.h5") as stored:
        restore_learner(again, stored)
    assert torch.equal(outputs(first), outputs(again))
    for prefix in ("network", "rule"):
        one, other = (getattr(found, prefix).state_dict() for found in (first, again))
        assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.slow
def test_blocks_come_back_bit_for_bit(tmp_path):
    first = exported(tmp_path / "x.h5", "vit", mapping=None, numbers=None)
    again = rebuild_learner(recipe("vit", seed=7))
    with open_hardware_file(tmp_path / "x.h5") as stored:
        restore_learner(again, stored)
    assert torch.equal(outputs(first), outputs(again))


@pytest.mark.parametrize("device", ["pcm", "fixed(bits=4)", "stuck(device=reram_es)"])
def test_cells_of_devices_come_back(tmp_path, device):
    first = exported(tmp_path / "x.h5", device=device)
    again = rebuild_learner(recipe(device=device, seed=7))
    with open_hardware_file(tmp_path / "x.h5") as stored:
        restore_learner(again, stored)
    assert torch.equal(outputs(first), outputs(again))
    # the cells, not only the weights: both go on in the same way
    x, t = torch.randn(8, 1, 6, 6), torch.arange(8)
    for found in (first, again):
        found.network.train()
        found.gen.manual_seed(2)
        found.step(x, t)
    assert torch.equal(outputs(first), outputs(again))


def test_cells_under_their_earlier_names_come_back(tmp_path):
    first = exported(tmp_path / "x.h5", device="pcm")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        cells = file["state/network/layers.dense1.synapses.weight.cell_plus_drift"].attrs
        cells["state"] = cells["state"].replace("_drift", "_fate")
    again = rebuild_learner(recipe(device="pcm", seed=7))
    with open_hardware_file(tmp_path / "x.h5") as stored:
        restore_learner(again, stored)
    assert torch.equal(outputs(first), outputs(again))


def matrices(found, network, rule):
    described = model(found, network, rule)
    return {path: array for path, array in stored_arrays(described) if isinstance(array, Matrix)}


@pytest.mark.sample(4)
@pytest.mark.parametrize("rule", ["dfa", "ldfa_local", "dfa(feedback=mzi)", "dfa(feedback=crossbar)"])
@pytest.mark.parametrize("network", ["mlp", "cnn", pytest.param("vit", marks=pytest.mark.slow)])
def test_whole_numbers_are_half_a_step_off_at_most(tmp_path, network, rule):
    first = exported(tmp_path / "x.h5", network, rule)
    again = rebuild_learner(recipe(network, rule))
    chosen = matrices(first, network, rule)
    with open_hardware_file(tmp_path / "x.h5") as stored:
        restore_learner(again, stored)
        paths = {path: array.state for path, array in chosen.items() if path != "feedback/matrix" or array.state}
        fitted = replace_matrices(again, stored, paths, source="quantized", keep_scale=True)
        steps = {path: stored.tensor(f"{path}_quantized/scale") for path in paths}
    after = matrices(again, network, rule)
    for path in paths:
        off = (after[path].values - chosen[path].values).abs().flatten(1)
        assert float((off / steps[path].view(-1, 1)).max()) < 0.5 + 1e-4
    assert all(one.cosine > 0.999 for one in fitted)
    assert not torch.equal(outputs(first), outputs(again))
    assert torch.allclose(outputs(first), outputs(again), atol=0.1)


def test_words_of_a_device_are_their_own_whole_numbers(tmp_path):
    first = exported(tmp_path / "x.h5", device="fixed(bits=4)", numbers=None)
    with open_hardware_file(tmp_path / "x.h5") as stored:
        for path, array in matrices(first, "mlp", "dfa").items():
            if path.startswith("layers"):
                assert stored.attributes(f"{path}_quantized")["bits"] == 4
                assert torch.equal(stored.matrix(path, "quantized"), array.values)


def test_a_feedback_of_hardware_is_programmed_from_a_file(tmp_path):
    first = exported(tmp_path / "x.h5", rule="dfa(feedback=mzi(bits=None, crosstalk=0.0))")
    again = rebuild_learner(recipe(rule="dfa(feedback=mzi(bits=None, crosstalk=0.0))") | {"seed": 4})
    with open_hardware_file(tmp_path / "x.h5") as stored:
        replace_matrices(again, stored, {"feedback/matrix": ""}, source="float", keep_scale=True, least_cosine=-1)
    b = first.rule.feedback.projection.effective()
    assert torch.allclose(again.rule.feedback.projection.effective(), b, atol=1e-6)


def test_a_measured_matrix_is_fitted_to_what_it_replaces():
    w = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    measured = 0.8 * w + 0.01 * torch.randn(40, 30, generator=torch.Generator().manual_seed(1))
    measured[3, 4] += 2.0
    found, weights = fit_matrix("w", measured, w, keep_scale=False)
    assert found.scale == pytest.approx(0.8, abs=0.01)
    assert found.outliers == 1
    assert found.worst[0].startswith("(3, 4)")
    assert torch.allclose(weights, measured / found.scale)
    assert torch.equal(fit_matrix("w", measured, w, keep_scale=True)[1], measured)
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(measured.flatten(), w.flatten(), 0)), abs=1e-6)
    for wrong, said in ((-w, "fits when negated"), (w[:3], "of shape"), (w * float("nan"), "NaN")):
        with pytest.raises(NeurofaError, match=said):
            fit_matrix("w", wrong, w, keep_scale=False)


def test_another_structure_is_refused(tmp_path):
    exported(tmp_path / "x.h5")
    with open_hardware_file(tmp_path / "x.h5") as stored:
        for other in (recipe(rule="fa"), recipe("cnn"), recipe("mlp(hidden=[12, 8])")):
            with pytest.raises(NeurofaError, match=r"expected .*import it into the run"):
                restore_learner(rebuild_learner(other), stored)


def test_what_a_run_holds_is_compared_bit_for_bit(tmp_path):
    first = exported(tmp_path / "x.h5")
    described = model(first)
    assert all(check.ok for check in verify_file(tmp_path / "x.h5", first, described))
    other = learner(steps=4)
    found = {check.name: check for check in verify_file(tmp_path / "x.h5", other, model(other))}
    assert not found["against"].ok
    assert "layers/dense1" in found["against"].detail
