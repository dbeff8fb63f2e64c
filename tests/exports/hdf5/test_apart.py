"""HDF5 files of others are read by a process of its own, which may be ended."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from exports.hdf5 import apart
from exports.hdf5.apart import LayoutError, UnreadableError, read_columns, require_readable


def make(path: Path) -> dict[str, np.ndarray]:
    gen = np.random.default_rng(0)
    rows = [gen.integers(0, 9, n).astype(np.float16) for n in (3, 0, 5, 1)]
    plain = {"labels": np.arange(4, dtype=">u2"), "pixels": gen.random((4, 3, 2)), "none": np.zeros((0, 2))}
    with h5py.File(path, "w") as file:
        ragged = file.create_dataset("spikes/times", (4,), dtype=h5py.vlen_dtype(np.float16))
        for i, row in enumerate(rows):
            ragged[i] = row
        for name, values in plain.items():
            file[name] = values
        file["text"], file["one"], file["names"] = "a", 1.0, np.array([b"a", b"bc"])
    return {**plain, "spikes/times": np.array(rows, dtype=object)}


def test_columns_are_what_h5py_reads(tmp_path):
    wanted = make(tmp_path / "x.h5")
    found = read_columns(tmp_path / "x.h5", list(wanted))
    for name, values in wanted.items():
        assert len(found[name]) == len(values)
        for a, b in zip(found[name], values, strict=True):
            assert a.dtype == b.dtype, name
            assert np.array_equal(a, b)
    assert isinstance(found["spikes/times"], list)
    assert found["spikes/times"][0].flags.writeable


@pytest.mark.parametrize("name", ["text", "one", "missing", "spikes"])
def test_other_content_is_a_layout_error(tmp_path, name):
    make(tmp_path / "x.h5")
    with pytest.raises(LayoutError):
        read_columns(tmp_path / "x.h5", [name])


def test_a_damaged_file_is_one_line(tmp_path):
    make(tmp_path / "x.h5")
    (tmp_path / "x.h5").write_bytes((tmp_path / "x.h5").read_bytes()[:500])
    for read in (require_readable, lambda path: read_columns(path, ["labels"])):
        with pytest.raises(UnreadableError, match=r"x\.h5.*expected a whole HDF5 file") as error:
            read(tmp_path / "x.h5")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "import time\nprint('{\"bytes\": 0}', flush=True)\ntime.sleep(60)",
            r"cannot be read in 0\.5 s.*copy or fetch",
        ),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "ended with code -9"),
    ],
)
def test_a_library_that_goes_in_circles_or_crashes_is_ended(tmp_path, monkeypatch, script, message):
    make(tmp_path / "x.h5")
    (tmp_path / "child.py").write_text(script)
    monkeypatch.setattr(apart, "_SCRIPT", tmp_path / "child.py")
    start = time.monotonic()
    with pytest.raises(UnreadableError, match=message):
        require_readable(tmp_path / "x.h5", seconds=0.5 if "sleep" in script else 60)
    assert time.monotonic() - start < 30


def test_a_file_that_was_read_is_not_read_again_until_it_changes(tmp_path, monkeypatch):
    make(tmp_path / "x.h5")
    require_readable(tmp_path / "x.h5")
    runs = []
    monkeypatch.setattr(apart, "_run", lambda path, names, seconds: runs.append(path) or iter(()))
    require_readable(tmp_path / "x.h5")
    assert not runs
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["more"] = np.zeros(3)
    require_readable(tmp_path / "x.h5")
    assert runs == [tmp_path / "x.h5"]
