"""A disk that is full, and processes that were killed: nothing half-written, and never exit code 0."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.cli import run_command as command
from experiments.files import make_folder
from hwmodels.files import _HOST, atomic_folder, atomic_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["train", "--data", "digits(subset=64)", "--network", "mlp(hidden=[24])", "--epochs", "1", "--no-control"]
    assert command([*words, "-q", "--out", str(out)]) == 0
    return out


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [100, 4000])
@pytest.mark.parametrize("form", ["hdf5", "onnx", "tables", "all"])
def test_an_export_to_a_full_disk_fails(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, size: int
) -> None:
    with full_disk(size):
        code = command(["export", str(trained), "--format", form, "--tile", "32x32", "-o", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert code == 2
    assert said.err.startswith("neurofa: got '")
    assert said.err.count("\n") == 1
    assert "place that can be written" in said.err
    assert not list(tmp_path.rglob("*.part"))
    for path in tmp_path.rglob("*.*"):
        assert path.stat().st_size < size


def test_a_run_on_a_full_disk_fails_and_the_run_before_stays(trained: Path, tmp_path: Path) -> None:
    held = {path.name: path.read_bytes() for path in trained.iterdir()}
    with full_disk(3000):
        assert command(["train", "--data", "digits(subset=64)", "--epochs", "1", "--out", str(tmp_path / "run")]) == 2
        assert command(["export", str(trained), "-o", str(tmp_path / "x.h5")]) == 2
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == held
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "run" / "result.json").exists()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    dead, alive, other = (
        tmp_path / f".x[1].h5.{host}-{process}.part"
        for host, process in ((_HOST, child.pid), (_HOST, os.getppid()), ("0" * 8, child.pid))
    )
    for path in (dead, alive, other):
        path.write_bytes(b"half")
    folder = tmp_path / f".run.{_HOST}-{child.pid}.part"
    (folder / "inner").mkdir(parents=True)
    with atomic_path(tmp_path / "y.h5"):
        pass
    assert dead.exists()  # of another name
    with atomic_path(tmp_path / "x[1].h5") as part:
        part.write_bytes(b"whole")
    assert not dead.exists()
    assert alive.exists()  # it may still be written
    assert other.exists()  # on another machine
    assert folder.exists()
    make_folder(tmp_path)
    assert not folder.exists()


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "a") as part:
        (part / "x").write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())
    with atomic_folder(tmp_path / "a") as part:
        (part / "x").write_text("x")
    assert (tmp_path / "a" / "x").read_text() == "x"


def test_an_export_is_listed_and_a_changed_file_of_it_is_noticed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["export", str(trained), "--format", "all", "-o", str(out)]
    assert command([*words, "--tile", "32x32"]) == 0
    assert len(list((out / "tiles").iterdir())) == 2 * (2 + 1 + 1)
    assert command(["verify", str(out / "feedback.onnx")]) == 0
    assert "listing: as listed" in capsys.readouterr().out
    assert command([*words, "--tile", "64x64"]) == 0
    assert len(list((out / "tiles").iterdir())) == 2 * 3  # no tiles of the size before
    (out / "feedback.onnx").write_bytes((out / "learning.onnx").read_bytes())
    capsys.readouterr()
    assert command(["verify", str(out / "feedback.onnx")]) == 2
    assert "FAIL listing" in capsys.readouterr().out
