"""Killed at any moment, an export leaves no file of its name half-written."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exports.verify import verify_file
from hwmodels.files import _HOST

HEAD = """
import sys, torch
from pathlib import Path
from exports.graph.arrays import Array, Matrix
from exports.graph.model import Model
from exports.graph.neurons import NeuronDynamics, SpikingNode
from exports.graph.nodes import DenseNode
path, n = Path(sys.argv[1]), int(sys.argv[2])
w = Matrix(values=torch.randn(n, n), meaning="w")
node = DenseNode(name="a", in_shape=(n,), out_shape=(n,), weight=w)
"""
SCRIPTS = {
    "h5": """
from exports.hdf5.write import Content, write_hdf5
from exports.programming.conductances import TileMapping
write_hdf5(path, Model(input_shape=(n,), nodes=(node,)), (), Content(mapping=TileMapping(tile=(64, 64))))
""",
    "onnx": """
from exports.onnx.builder import write_onnx
from exports.onnx.inference import inference_graph
write_onnx(inference_graph(Model(input_shape=(n,), nodes=(node,))), path)
""",
    "nir": """
from exports.nir.write import network_to_nir, write_nir
ones = Array(values=torch.ones(n), meaning="of neurons")
beta = Array(values=ones.values * 0.9, meaning="decay")
fires = NeuronDynamics(model="lif", beta=beta, threshold=ones, reset="zero", dt=1e-4)
spiking = SpikingNode(name="a", in_shape=(n,), out_shape=(n,), current=node, neuron=fires)
write_nir(network_to_nir(Model(input_shape=(n,), nodes=(spiking,)))[0], path)
""",
}
"""Exports in processes of their own, by the suffix of the file."""
SIZES = {"h5": 1000, "onnx": 4000, "nir": 4000}
"""Of the matrices: writing takes long enough to be met in the middle."""


def killed(path: Path, form: str, size: float) -> int:
    """Export to ``path``, and kill the process as soon as it has written that many bytes; returns its exit status."""
    command = [sys.executable, "-c", HEAD + SCRIPTS[form], str(path), str(SIZES[form])]
    with subprocess.Popen(command, env=dict(os.environ)) as child:
        part = path.with_name(f".{path.name}.{_HOST}-{child.pid}.part")
        while child.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                if part.stat().st_size >= size:
                    child.send_signal(signal.SIGKILL)
                    child.wait()
    return child.returncode


@pytest.mark.slow
@pytest.mark.parametrize("form", SCRIPTS)
def test_a_killed_export_leaves_nothing_or_a_whole_file(tmp_path, form):
    whole = tmp_path / f"whole.{form}"
    assert killed(whole, form, math.inf) == 0
    assert all(check.ok for check in verify_file(whole))
    codes, begun = [], 0
    for index, share in enumerate((0.0, 0.01, 0.3, 0.7, 0.99)):
        path = tmp_path / f"{index}.{form}"
        codes.append(killed(path, form, share * whole.stat().st_size))
        if path.exists():
            assert all(check.ok for check in verify_file(path)), share
        else:
            assert codes[-1] == -signal.SIGKILL
            begun += any(p.name.startswith(f".{path.name}.") for p in tmp_path.iterdir())
    assert begun >= 2, codes  # they were killed while they wrote: the test met what it is about


def test_a_failed_export_leaves_what_was_there(tmp_path):
    import torch

    from exports.graph.arrays import Matrix
    from exports.graph.model import Model
    from exports.graph.nodes import DenseNode
    from exports.hdf5.write import write_hdf5
    from hwmodels.errors import NeurofaError

    def model(value):
        w = Matrix(values=torch.full((3, 4), value), meaning="w")
        return Model(input_shape=(4,), nodes=(DenseNode(name="a", in_shape=(4,), out_shape=(3,), weight=w),))

    path = tmp_path / "x.h5"
    write_hdf5(path, model(1.0))
    before = path.read_bytes()
    with pytest.raises(NeurofaError, match="NaN"):
        write_hdf5(path, model(float("nan")))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]
