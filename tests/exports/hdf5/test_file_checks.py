"""Damaged files: every kind of damage is named by a check, and the sound file passes all of them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from exports.hdf5.read import open_hardware_file
from exports.schema import load_schema, path_matches
from exports.verify import verify_file
from hwmodels.errors import NeurofaError
from tests.exports.learners import exported, learner, model


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "x.h5"
    exported(path)
    return path


@pytest.fixture
def damaged(sound, tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(sound.read_bytes())
    return path


def failing(path):
    return {check.name: check.detail for check in verify_file(path) if not check.ok}


@pytest.mark.long
def test_a_sound_file_passes(sound):
    checks = verify_file(sound)
    assert not failing(sound)
    assert {"schema", "manifest", "checksums", "ranges", "copies", "products", "network", "feedback"} <= {
        c.name for c in checks
    }


def test_a_truncated_file_cannot_be_open_hardware_file(damaged):
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    assert "cannot be opened" in failing(damaged)["opens"]


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_a_flipped_byte_of_data_is_named(damaged, share):
    with h5py.File(damaged) as file:
        found = file["layers/dense1/weight"].id.get_chunk_info(0)
        at = found.byte_offset + int(found.size * share)
    content = bytearray(damaged.read_bytes())
    content[at] ^= 0x40
    damaged.write_bytes(bytes(content))
    assert "layers/dense1/weight" in failing(damaged)["checksums"]


@pytest.mark.long
def test_flipped_bytes_anywhere_are_found_where_they_matter(damaged):
    content, missed = damaged.read_bytes(), 0
    before = everything(damaged)
    for at in range(0, len(content), len(content) // 10):
        other = bytearray(content)
        other[at] ^= 0xFF
        damaged.write_bytes(bytes(other))
        if not failing(damaged):
            missed += 1
            assert everything(damaged) == before  # it lies where nothing is stored
    assert missed < 6


def everything(path):
    found = {}

    def see(name, item):
        values = item[()].tobytes() if hasattr(item, "dtype") and item.dtype.kind != "O" else None
        found[name] = {key: str(value) for key, value in item.attrs.items()}, values

    with h5py.File(path) as file:
        file.visititems(see)
    return found


def test_another_version_is_refused(damaged):
    with h5py.File(damaged, "r+") as file:
        file.attrs["format_version"] = "2.0"
    assert "version 2.0; expected 1.0" in failing(damaged)["opens"]


def test_a_file_of_somebody_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.zeros(3)
    assert "expected neurofa-hardware" in failing(tmp_path / "x.h5")["opens"]
    (tmp_path / "y.h5").write_text("no HDF5")
    assert "cannot be opened" in failing(tmp_path / "y.h5")["opens"]
    assert "no file" in failing(tmp_path / "z.h5")["opens"]


def test_a_missing_dataset_is_named(damaged):
    with h5py.File(damaged, "r+") as file:
        del file["layers/dense2/bias"]
    assert "'layers/dense2/bias' is missing" in failing(damaged)["manifest"]


def test_a_dataset_that_was_added_is_named(damaged):
    with h5py.File(damaged, "r+") as file:
        file["layers/dense2/surprise"] = np.zeros(2, dtype=np.float32)
    found = failing(damaged)
    assert "'layers/dense2/surprise' is not in the manifest" in found["manifest"]
    assert "no attribute 'unit'" in found["schema"]


def test_a_changed_value_is_named(damaged):
    with h5py.File(damaged, "r+") as file:
        file["feedback/matrix"][3, 4] += 0.5
    found = failing(damaged)
    assert "'feedback/matrix' differs" in found["checksums"]
    assert "'feedback/matrix'" in found["copies"]


def test_nan_is_named(damaged):
    with h5py.File(damaged, "r+") as file:
        file["layers/dense1/weight"][0, 0] = np.nan
    assert "'layers/dense1/weight'" in failing(damaged)["finite"]


def test_a_conductance_out_of_range_is_named(damaged):
    with h5py.File(damaged, "r+") as file:
        file["layers/dense1/weight_tiles/0_0/plus"][2, 2] = 26e-6
    assert (
        "layers/dense1/weight_tiles/0_0/plus' from 0 to 2.6e-05 S; expected 0 to 2.5e-05 S"
        in failing(damaged)["ranges"]
    )


def test_a_code_out_of_range_is_named(damaged):
    with h5py.File(damaged, "r+") as file:
        file["layers/dense1/weight_quantized/codes"][0, 0] = -128
    assert "codes' from -128" in failing(damaged)["ranges"]


@pytest.mark.parametrize(("key", "value"), [("activation", "relu"), ("in_shape", [9])])
def test_a_changed_attribute_is_named(damaged, key, value):
    with h5py.File(damaged, "r+") as file:
        file["layers/dense1"].attrs[key] = value
    assert "attributes differ" in failing(damaged)["manifest"]


def test_a_wrong_unit_is_named(damaged):
    with h5py.File(damaged, "r+") as file:
        file["layers/dense1/weight_tiles/0_0/plus"].attrs["unit"] = "uS"
    assert "in unit 'uS'; expected S" in failing(damaged)["schema"]


def test_a_tile_that_is_missing_is_named(damaged):
    with h5py.File(damaged, "r+") as file:
        del file["layers/dense1/weight_tiles/16_0"]
    assert "cover" in failing(damaged)["shapes"]


def test_files_explain_themselves_to_plain_h5py(sound):
    with h5py.File(sound) as file:
        assert "no software of ours is needed" in file.attrs["README"]
        w = file["layers/dense1/weight"][()]
        tiles, back = file["layers/dense1/weight_tiles"], np.zeros_like(w)
        for tile in tiles.values():  # as the README says
            g, a = (tile["plus"][()] - tile["minus"][()]) / tile.attrs["scale"], tile.attrs
            back[
                a["first_output"] : a["first_output"] + g.shape[1], a["first_input"] : a["first_input"] + g.shape[0]
            ] = g.T
        assert np.allclose(back, w, atol=1e-6)
        units = []
        file.visititems(
            lambda path, item: (
                units.append("unit" in item.attrs) if hasattr(item, "dtype") and "manifest" not in path else None
            )
        )
        assert len(units) > 50
        assert all(units)


def test_the_schema_knows_patterns():
    assert load_schema()["version"] == "1.0"
    assert path_matches("layers/dense1/weight", "layers/*/*")
    assert not path_matches("layers/dense1/weight/x", "layers/*/*")
    assert path_matches("state/rule/a/b", "state/**")


def test_nan_is_not_exported(tmp_path):
    found = learner()
    with torch.no_grad():
        found.network.layer("dense1").synapses["weight"].weight[0, 0] = float("nan")
    from exports.hdf5.write import write_hdf5

    with pytest.raises(NeurofaError, match=r"NaN or infinity in 'layers/dense1/weight'"):
        write_hdf5(tmp_path / "x.h5", model(found))
    assert not list(tmp_path.iterdir())


def test_reading_says_what_is_missing(sound):
    with open_hardware_file(sound) as stored, pytest.raises(NeurofaError, match="without 'layers/none'"):
        stored.tensor("layers/none")
