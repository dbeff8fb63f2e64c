"""Killed at any moment, an export leaves no file of its name half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from exports.verify import verify

SCRIPT = """
import sys, torch
from pathlib import Path
from exports.arrays import Matrix
from exports.graph import Dense, Model
from exports.hdf5.write import Content, write
from exports.mapped import Mapping
w = Matrix(values=torch.randn(1500, 1500), meaning="w")
node = Dense(name="a", in_shape=(1500,), out_shape=(1500,), weight=w)
print("begin", flush=True)
write(Path(sys.argv[1]), Model(input_shape=(1500,), nodes=(node,)), (), Content(mapping=Mapping(tile=(64, 64))))
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.05, 0.2, 0.6, 1.5, 60.0])
def test_a_killed_export_leaves_nothing_or_a_whole_file(tmp_path, after):
    path = tmp_path / "x.h5"
    command = [sys.executable, "-c", SCRIPT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"begin\n"
        try:
            child.wait(after)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
    time.sleep(0.05)
    if path.exists():
        assert all(check.ok for check in verify(path))
    else:
        assert after < 60


def test_a_failed_export_leaves_what_was_there(tmp_path):
    import torch

    from exports.arrays import Matrix
    from exports.graph import Dense, Model
    from exports.hdf5.write import write
    from hwmodels.errors import NeurofaError

    def model(value):
        w = Matrix(values=torch.full((3, 4), value), meaning="w")
        return Model(input_shape=(4,), nodes=(Dense(name="a", in_shape=(4,), out_shape=(3,), weight=w),))

    path = tmp_path / "x.h5"
    write(path, model(1.0))
    before = path.read_bytes()
    with pytest.raises(NeurofaError, match="NaN"):
        write(path, model(float("nan")))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]
