"""Wrong input: one clear line on stderr, nothing on stdout, exit code 2, no traceback."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from experiments.cli import run_command as command
from experiments.runs.run import RunSpec, train_run
from hwmodels.errors import NeurofaError
from neurofa import Block, Dense, Learner, Network

QUICK = ["--data", "digits(subset=64)", "--network", "mlp(hidden=[8])", "--epochs", "1", "--no-control", "--json"]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    code = command(arguments)
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert said.err.startswith("neurofa: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    return said.err


@pytest.mark.sample(15)
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rule", "dfaa"], "did you mean 'dfa'"),
        (["--device", "digtal"], "did you mean 'digital'"),
        (["--data", "mnits"], "did you mean 'mnist'"),
        (["--network", "mpl"], "did you mean 'mlp'"),
        (["--optimizer", "sdg"], "did you mean 'sgd'"),
        (["--schedule", "cosin"], "did you mean 'cosine'"),
        (["--loss", "cross_entrop"], "did you mean 'cross_entropy'"),
        (["--rule", "dfa(feedback=dens)"], "did you mean 'dense'"),
        (["--rule", "dfa(eror=ternary)"], "did you mean 'error'"),
        (["--rule", "dfa(error=ternary"], "close the brackets"),
        (["--rule", ""], "expected name(option=value, ...)"),
        (["--rule", "dfa(error=__import__('os').system('true'))"], "never evaluated"),
        (["--network", "mlp(hidden=[8 for _ in range(3)])"], "never evaluated"),
        (["--device", "fixed(bits=2+2)"], "never evaluated"),
        (["--device", "fixed(bits=-4)"], "bits=-4"),
        (["--device", "fixed(bits=four)"], "expected a whole number"),
        (["--network", "mlp(hidden=[0])"], "expected at least 1"),
        (["--network", "cnn", "--data", "teacher"], "images"),
        (["--optimizer", "sgd(lr=-0.1)"], "positive learning rate"),
        (["--optimizer", "adam(beta1=1.0)"], "beta1=1.0"),
        (["--schedule", "cosine(warmup=9)"], "lower warmup"),
        (["--epochs", "-1"], "epochs=-1"),
        (["--batch-size", "-1"], "batch_size=-1"),
        (["--accumulate", "100"], "lower accumulate"),
        (["--clip", "0"], "positive norm"),
        (["--select", "bset"], "did you mean 'best'"),
        (["--compute", "gpu"], "expected cpu or cuda or auto"),
        (["--log", "everything"], "expected none or alignment"),
        (["--data", "teacher(task=regression)"], "loss mse"),
        (["--epochs", "ten"], "--epochs"),
        (["--frobnicate"], "--frobnicate"),
        (["--threads", "0"], "--threads"),
        (["--resume", "--overwrite"], "leave one out"),
    ],
)
def test_wrong_options_are_one_line(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["train", *QUICK, "--out", str(tmp_path / "run"), *flags], capsys)
    assert words in said
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "trian" in refused(["trian"], capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["train", *QUICK, "--compute", "cuda", "--out", str(tmp_path / "run")], capsys)
    assert "use --compute cpu" in said


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        said = refused(["train", *QUICK, "--out", str(place)], capsys)
        assert "expected a place that can be written" in said
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left" in refused(["train", *QUICK, "--out", str(tmp_path / "run")], capsys)


def test_no_run_to_evaluate_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "without run.json" in refused(["evaluate", str(tmp_path)], capsys)
    assert command(["train", *QUICK, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert "split 'tset'" in refused(["evaluate", str(tmp_path / "run"), "--split", "tset"], capsys)
    (tmp_path / "run" / "model.safetensors").write_bytes(b"not a model")
    assert "model.safetensors" in refused(["evaluate", str(tmp_path / "run")], capsys)
    (tmp_path / "run" / "run.json").write_text("{")
    assert "run.json" in refused(["evaluate", str(tmp_path / "run")], capsys)


def test_damaged_data_files_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    monkeypatch.setenv("NEUROFA_DATA", str(tmp_path))
    whole = struct.pack(">IIII", 2051, 60000, 28, 28) + bytes(28 * 28)
    labels = struct.pack(">II", 2049, 60000) + bytes(60000)
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        (raw / f"{name}.gz").write_bytes(gzip.compress(whole))
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        (raw / f"{name}.gz").write_bytes(gzip.compress(labels))
    flags = ["train", *QUICK, "--data", "mnist", "--out", str(tmp_path / "run")]
    assert "train-images-idx3-ubyte" in refused(flags, capsys)  # truncated
    full = struct.pack(">IIII", 2051, 60000, 28, 28) + bytes(60000 * 28 * 28)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(full, compresslevel=1))
    assert "sha256" in refused(flags, capsys)  # whole, but another file
    monkeypatch.setenv("NEUROFA_DATA", str(tmp_path / "nowhere"))
    assert "nowhere" in refused(flags, capsys)


class Scaled(nn.Module):
    """A weight that an error crosses and that no return weight stands beside."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.eye(6))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.mixing


def learner(rule: str = "dfa") -> Learner:
    network = Network([Dense(6, 6), Block(Scaled()), Dense(6, 3)], (6,))
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("x", "target", "words"),
    [
        (torch.zeros(4, 5), torch.zeros(4, dtype=torch.int64), r"batch of shape \(4, 5\)"),
        (torch.zeros(6), torch.zeros(6, dtype=torch.int64), "expected"),
        (torch.zeros(4, 6), torch.tensor([0, 1, 2, 3]), "got label 3"),
        (torch.zeros(4, 6), torch.tensor([0, 1, -1, 0]), "got label -1"),
        (torch.zeros(4, 6), torch.zeros(3, dtype=torch.int64), r"targets of shape \(3,\)"),
        (torch.full((4, 6), torch.nan), torch.zeros(4, dtype=torch.int64), "input of layer 'dense0'"),
    ],
)
def test_wrong_batches_are_one_line_and_touch_nothing(x: Tensor, target: Tensor, words: str) -> None:
    subject = learner()
    before = {key: value.clone() for key, value in subject.network.state_dict().items()}
    with pytest.raises(NeurofaError, match=words) as caught:
        subject.step(x, target)
    assert "\n" not in str(caught.value)
    for key, value in subject.network.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_rule_that_cannot_serve_a_layer_names_it() -> None:
    learner("dfa")
    with pytest.raises(NeurofaError, match=r"'block1'.*mixing.*use a direct rule") as caught:
        learner("fa")
    assert "\n" not in str(caught.value)


def test_fields_of_another_version_are_refused() -> None:
    with pytest.raises(NeurofaError, match="field 'colour'"):
        RunSpec.from_json({"colour": "red"})


def test_the_best_epoch_needs_validation_data() -> None:
    data = "teacher(samples=100, validation=0, test=50)"
    with pytest.raises(NeurofaError, match="without validation data"):
        train_run(RunSpec(data=data, select="best", epochs=1))
    result = train_run(RunSpec(data=data, epochs=1))
    assert result.row["validation_loss"] is None


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--network", "mlp(hidden=[100000000000])"], "a single tensor of which takes 25,600.0 GB"),
        (["--network", "mlp(hidden=[99999999999999999999])"], "expected whole numbers up to 2^63 - 1"),
        (["--network", "mlp(hidden=[9000000000000000000])"], "GB that are free; make it smaller"),
        (["--network", "cnn(channels=[1000000, 1000000])"], "GB that are free; make it smaller"),
        (["--network", "vit(width=40000000, depth=1, heads=1)"], "GB that are free; make it smaller"),
        (["--network", "snn", "--data", "encoded(data=digits(subset=64), ticks=999999999)"], "batches of 32 from"),
        (["--data", "teacher(samples=999999999999)"], "GB that are free; make it smaller"),
        (["--epochs", "100000000000000000000"], "expected at most 10,000,000; lower epochs"),
        (["--epochs", "1e20"], "integer"),
        (["--batch-size", "99999999999999999999"], "expected at most 1,000,000,000; lower batch_size"),
        (["--rule", "raf(rank=99999999999999999999)"], "expected whole numbers up to 2^63 - 1"),
    ],
)
def test_sizes_beyond_all_memory_take_none(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [word for pair in zip(QUICK[::2], QUICK[1::2], strict=False) if pair[0] not in flags for word in pair]
    assert words in refused(["train", *small, *flags, "--out", str(tmp_path / "run")], capsys)
    assert not (tmp_path / "run").exists()


def test_memory_that_runs_out_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")):
        monkeypatch.setattr("experiments.runs.run.train_run", lambda *_, error=error, **__: _throw(error))
        assert command(["train", *QUICK, "--out", str(tmp_path)]) == 2
        assert "expected smaller ones; lower them" in capsys.readouterr().err
    monkeypatch.setattr("experiments.runs.run.train_run", lambda *_, **__: _throw(RuntimeError("other")))
    with pytest.raises(RuntimeError, match="other"):
        command(["train", *QUICK, "--out", str(tmp_path)])


def _throw(error: Exception) -> None:
    raise error
