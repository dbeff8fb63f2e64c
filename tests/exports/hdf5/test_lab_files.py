"""Files of a lab: numbers of any real type are read, and nothing else is taken for a matrix."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from exports.hdf5.checks import require_intact
from exports.hdf5.read import open_hardware_file
from exports.restore import rebuild_learner, replace_matrices
from hwmodels.errors import NeurofaError
from tests.exports.learners import recipe

PATH, STATE = "layers/dense1/weight", "network:layers.dense1.synapses.weight.weight"


@pytest.fixture(scope="module")
def learner():
    return rebuild_learner(recipe())


def put(path, values):
    with h5py.File(path, "w") as file:
        if values is None:
            file.create_group(PATH)
        else:
            file[PATH] = values


def replaced(path, learner):
    with open_hardware_file(path, measured=True) as stored:
        require_intact(stored)
        return replace_matrices(learner, stored, {PATH: STATE}, source="float")


def weights(learner):
    return learner.network.layer("dense1").synapses.stored()["weight"].numpy()


@pytest.mark.parametrize("kind", [">f4", "<f8", ">f8", "f2", "g"])
def test_numbers_of_every_byte_order_and_width_are_read(tmp_path, learner, kind):
    w = weights(learner).astype(kind)
    put(tmp_path / "lab.h5", w)
    (fit,) = replaced(tmp_path / "lab.h5", learner)
    assert fit.cosine > 0.9999
    assert np.allclose(weights(learner), w.astype(np.float32), atol=1e-3)


def test_whole_numbers_are_read(tmp_path, learner):
    put(tmp_path / "lab.h5", np.round(weights(learner) * 1000).astype(">i2"))
    assert replaced(tmp_path / "lab.h5", learner)[0].scale == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.ones((12, 36), np.complex64), "complex numbers"),
        (np.full((12, 36), b"0.1"), "text"),
        (np.zeros((12, 36), [("a", "f4"), ("b", "f4")]), "records"),
        (None, "a group"),
        ("a text", "text"),
        (np.float32(1.0), "of shape"),
        (np.zeros((0, 36), np.float32), "of shape"),
        (np.full((12, 36), np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_matrix_is_one_line(tmp_path, learner, values, what):
    before = torch.from_numpy(weights(learner).copy())
    put(tmp_path / "lab.h5", values)
    with pytest.raises(NeurofaError, match=what) as error:
        replaced(tmp_path / "lab.h5", learner)
    assert "\n" not in str(error.value)
    assert torch.equal(torch.from_numpy(weights(learner)), before)
