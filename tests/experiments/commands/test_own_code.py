"""Networks and data of a user's code files: run where the command names them, refused where a stored file does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from experiments.cli import run_command as command
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.registry.code import allowed_code, load_code

MODEL = """
import torch
from torch import nn

print("run", end="")


class Net(nn.Module):
    def __init__(self, outputs=3):
        super().__init__()
        self.hidden, self.norm, self.read = nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, outputs)

    def forward(self, x):
        return self.read(torch.relu(self.norm(self.hidden(x))) + 1)


def make_model(outputs):
    return Net(outputs)


def make_nothing():
    return 3
"""
DATA = """
import numpy as np


def make_data():
    y = np.arange(60) % 3
    return np.random.default_rng(0).normal(size=(60, 4)) + y[:, None], y


def make_splits():
    x, y = make_data()
    return {"train": (x[:40], y[:40]), "test": list(zip(x, y))[:20]}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "data.py").write_text(DATA)
    return tmp_path


NETWORK, OWN = "module(path=model.py, name=make_model)", "module(path=data.py, name=make_data)"
TRAIN = ["train", "--network", NETWORK, "--data", OWN, "--epochs", "2", "--no-control", "--quiet"]


def test_a_network_and_data_of_code_files_train(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*TRAIN, "--out", "run"]) == 0
    result = json.loads((files / "run" / "result.json").read_text())
    assert (result["epochs"], result["samples"]) == (2, 48)
    assert command(["evaluate", "run", "--allow-code", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.removeprefix("run"))["loss"] == pytest.approx(result["test_loss"])


def test_code_that_a_run_names_is_not_run_unasked(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*TRAIN, "--out", "run"]) == 0
    (files / "model.py").write_text("raise SystemExit('the code ran')")
    capsys.readouterr()
    for words in (
        ["evaluate", "run"],
        ["export", "run"],
        ["train", "--resume", "--out", "run"],
        ["budget", "--run", "run"],
    ):
        assert command(words) == 2
        told = capsys.readouterr().err
        assert "--allow-code" in told
        assert str(files) in told
        assert "the code ran" not in told


def test_an_export_that_names_code_does_not_run_it(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*TRAIN, "--out", "run"]) == 0
    assert command(["export", "run", "-o", "net.h5", "--allow-code"]) == 0
    (files / "model.py").write_text(MODEL.replace('print("run", end="")', 'print("the code ran")'))
    capsys.readouterr()
    command(["verify", "net.h5"])
    assert "the code ran" not in "".join(capsys.readouterr())


def test_other_code_than_the_run_was_made_of_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*TRAIN, "--out", "run"]) == 0
    (files / "model.py").write_text(MODEL + "\n# another version\n")
    assert command(["evaluate", "run", "--allow-code"]) == 2
    assert "another content than when 'run' was made" in capsys.readouterr().err


def test_a_trained_model_becomes_a_run_without_training(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with allowed_code("model.py"):
        torch.manual_seed(5)
        model: nn.Module = load_code("model.py", "make_model")(outputs=3)
    save_file(model.state_dict(), "w.safetensors")
    wrapped = ["wrap", "--network", NETWORK, "--weights", "w.safetensors", "--data", OWN, "--out", "run"]
    assert command(wrapped) == 0
    assert "go on with: neurofa evaluate run --allow-code" in capsys.readouterr().out
    assert json.loads((files / "run" / "result.json").read_text())["epochs"] == 0
    assert command(["export", "run", "--tile", "8x8", "-o", "net.h5", "--allow-code"]) == 0
    assert command(["bringup", "net.h5", "--device", "fixed(bits=6)"]) == 0
    assert command(["budget", "--run", "run", "--rule", "dfa(feedback=microring)", "--allow-code", "--json"]) == 0
    from experiments.runs.folder import RunFolder

    with allowed_code(everything=True):
        network = RunFolder(files / "run").network()
    x = torch.randn(3, 4)
    assert torch.allclose(network.eval()(x), model.eval()(x), atol=1e-6)
    save_file({k: v + 1 for k, v in model.state_dict().items()}, "w.safetensors")
    capsys.readouterr()
    assert command(["evaluate", "run", "--allow-code"]) == 2
    assert "another content" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("module(path=nowhere.py)", "expected a file that ends in .py"),
        ("module(path=model.py, name=make_modell)", "did you mean 'make_model'"),
        ("module(path=model.py, name=make_nothing)", "got a int from 'make_nothing'; expected an nn.Module"),
        ("module(path=model.py, weights='none.safetensors')", "expected a safetensors file"),
        ("module(path=broken.py)", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("module(path=model.py, units=some)", "expected"),
    ],
)
def test_wrong_code_is_told_in_one_line(
    files: Path, network: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "broken.py").write_text("1 / 0")
    assert command(["train", "--network", network, "--data", OWN, "--out", "run", "--quiet"]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert told.count("\n") == 0


def test_weights_of_another_model_are_refused(files: Path) -> None:
    save_file({"hidden.weight": torch.zeros(5, 4)}, "w.safetensors")
    with allowed_code("model.py"), pytest.raises(NeurofaError, match=r"without 'hidden\.bias'"):
        build("network", "module(path=model.py, weights='w.safetensors')", input_shape=(4,), outputs=3)
    assert command(["train", "--weights", "w.safetensors", "--out", "run"]) == 2


def test_data_by_split(files: Path) -> None:
    with allowed_code("data.py"), pytest.raises(NeurofaError, match="got a list for test from 'make_splits'"):
        build("data", "module(path=data.py, name=make_splits)")


def test_python_needs_leave_too(files: Path) -> None:
    with pytest.raises(NeurofaError, match="expected leave to run it"):
        build("network", NETWORK, input_shape=(4,), outputs=3)
