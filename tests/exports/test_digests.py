"""Files that hold numbers hold their digests, and checks walk the whole tree."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
import torch

from exports.files.seal import FRONT, seal_holds
from exports.hdf5.checks import require_intact
from exports.hdf5.read import open_hardware_file
from exports.nir.write import network_to_nir, write_nir
from exports.onnx.builder import write_onnx
from exports.onnx.digest import KEY
from exports.onnx.inference import inference_graph, int8_inference_graph
from exports.onnx.spiking import loop_graph
from exports.verify import verify_file
from hwmodels.errors import NeurofaError
from tests.exports.learners import exported, learner, model
from tests.exports.spiking_nets import chain, spiking

nir = pytest.importorskip("nir")


def faults(path: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify_file(path) if not check.ok}


def said(path: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify_file(path)}


def spiking_model():
    gen = torch.Generator().manual_seed(0)
    layers = spiking("hidden", 6, 8, gen, "synaptic", True, reset="zero"), spiking("out", 8, 3, gen, reset="zero")
    return chain(*layers)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_flipped_weights_of_an_onnx_file_are_noticed(tmp_path, kind):
    described, path = model(learner()), tmp_path / "x.onnx"
    x = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    write_onnx(inference_graph(described) if kind == "float" else int8_inference_graph(described, x), path)
    assert not faults(path)
    assert said(path)["digest"] == "SHA-256 of the model"
    loaded = onnx.load(path)
    for tensor in loaded.graph.initializer:
        if len(tensor.raw_data) > 64:
            tensor.raw_data = bytes(b ^ 1 for b in tensor.raw_data[:64]) + tensor.raw_data[64:]
    onnx.save(loaded, path)
    assert faults(path) == {"digest": "the model differs from what was written"}


def test_a_file_of_before_has_no_digest_and_says_so(tmp_path):
    path = tmp_path / "x.onnx"
    write_onnx(inference_graph(model(learner())), path)
    loaded = onnx.load(path)
    kept = [prop for prop in loaded.metadata_props if prop.key != KEY]
    del loaded.metadata_props[:]
    loaded.metadata_props.extend(kept)
    onnx.save(loaded, path)
    assert not faults(path)
    assert said(path)["digest"].startswith("none in the file")


def test_numbers_inside_a_loop_are_looked_at(tmp_path):
    path = tmp_path / "loop.onnx"
    write_onnx(loop_graph(spiking_model()), path)
    assert not faults(path)
    loaded = onnx.load(path)
    del loaded.metadata_props[-1]
    (scan,) = (node for node in loaded.graph.node if node.op_type == "Scan")
    (body,) = (attribute.g for attribute in scan.attribute if attribute.name == "body")
    tensor = next(t for t in body.initializer if t.data_type == 1 and t.raw_data)
    tensor.raw_data = np.full(len(tensor.raw_data) // 4, np.nan, np.float32).tobytes()
    onnx.save(loaded, path)
    assert "finite" in faults(path)


def written(graph, path: Path) -> Path:
    write_nir(graph, path)
    return path


def nested(tau: float, weight: float = 1.0):
    """A graph inside a graph."""
    one = np.ones(3)
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([3])),
            "w": nir.Linear(weight=np.full((3, 3), weight)),
            "n": nir.LIF(tau=one * tau, r=one, v_leak=one * 0, v_threshold=one, v_reset=one * 0),
            "output": nir.Output(np.array([3])),
        },
        [("input", "w"), ("w", "n"), ("n", "output")],
    )
    ends = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([3]))}
    return nir.NIRGraph({**ends, "sub": inner}, [("input", "sub"), ("sub", "output")])


def test_a_graph_inside_a_graph_is_walked(tmp_path):
    assert not faults(written(nested(0.1), tmp_path / "a.nir"))
    assert "sub/n" in faults(written(nested(0.0), tmp_path / "b.nir"))["constants"]
    assert "sub/w" in faults(written(nested(0.1, np.nan), tmp_path / "c.nir"))["finite"]


def test_changed_numbers_of_a_nir_file_are_noticed(tmp_path):
    path = written(network_to_nir(spiking_model(), dt=1e-4)[0], tmp_path / "x.nir")
    assert not faults(path)
    assert said(path)["digest"] == "SHA-256 of the graph"
    with h5py.File(path, "r+") as file:
        file["node/nodes/hidden_w/weight"][0, 0] += 1
    assert faults(path) == {
        "seal": "bytes differ from what was written",
        "digest": "the graph differs from what was written",
    }
    # other libraries write no digest
    other = tmp_path / "other.nir"
    nir.write(other, network_to_nir(spiking_model(), dt=1e-4)[0])
    assert not faults(other)
    assert said(other)["digest"].startswith("none in the file")


@pytest.mark.parametrize("what", ["dataset", "attribute", "manifest"])
def test_a_changed_hdf5_file_is_refused_before_it_is_used(tmp_path, what):
    exported(tmp_path / "x.h5")
    with open_hardware_file(tmp_path / "x.h5") as stored:
        require_intact(stored)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        if what == "dataset":
            file["layers/dense1/weight"][0, 0] += 1
        elif what == "attribute":
            file["layers"].attrs["loss"] = "mse"
        else:
            del file["manifest"]
    with (
        pytest.raises(NeurofaError, match="expected a file as it was written"),
        open_hardware_file(tmp_path / "x.h5") as stored,
    ):
        require_intact(stored)


def test_an_hdf5_file_without_digests_says_so(tmp_path):
    exported(tmp_path / "x.h5", mapping=None)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        del file["manifest"], file.attrs["manifest_sha256"]
    unsealed(tmp_path / "x.h5")
    assert not faults(tmp_path / "x.h5")
    assert said(tmp_path / "x.h5")["manifest"].startswith("no digests in the file")


def unsealed(path: Path) -> None:
    """Make a file as earlier versions wrote it, without a digest in front."""
    content = path.read_bytes()
    assert content.startswith(b"neurofa: sha256 ")
    path.write_bytes(bytes(FRONT) + content[FRONT:])


def test_a_sealed_file_is_hdf5_to_everybody(tmp_path):
    exported(tmp_path / "x.h5")
    assert seal_holds(tmp_path / "x.h5") is True
    with h5py.File(tmp_path / "x.h5") as file:
        assert file.userblock_size == FRONT
        assert file["layers/dense1/weight"][()].size
    nir_path = written(network_to_nir(spiking_model(), dt=1e-4)[0], tmp_path / "x.nir")
    assert seal_holds(nir_path) is True
    assert nir.read(nir_path).nodes.keys()


def test_every_flipped_byte_breaks_the_seal(tmp_path):
    exported(tmp_path / "x.h5", mapping=None)
    content = bytearray((tmp_path / "x.h5").read_bytes())
    for at in [*range(0, FRONT, 37), FRONT, len(content) // 2, len(content) - 1]:
        content[at] ^= 1
        (tmp_path / "y.h5").write_bytes(content)
        assert seal_holds(tmp_path / "y.h5") is False, at
        content[at] ^= 1
    for size in (FRONT - 1, FRONT, len(content) - 1):
        (tmp_path / "y.h5").write_bytes(content[:size])
        assert seal_holds(tmp_path / "y.h5") is False, size
    unsealed(tmp_path / "x.h5")
    assert seal_holds(tmp_path / "x.h5") is None
    (tmp_path / "z.h5").write_bytes(content[FRONT:])
    assert seal_holds(tmp_path / "z.h5") is None


@pytest.mark.parametrize("suffix", [".onnx", ".nir", ".h5"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\x08\x08", bytes(range(256)) * 4])
def test_no_file_at_all_is_a_failed_check(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert set(faults(path)) == {"opens"}
