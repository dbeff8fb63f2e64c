"""Every ``neurofa train`` that the README or a help text shows learns: it beats its readout-only control."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.cli import run_command as command
from experiments.commands.train import train_command
from experiments.data import Dataset, Sequences
from experiments.data._files import find_file
from experiments.runs import trainer
from experiments.runs.build import load_data

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
SMALLER = {"mnist": "mnist(subset=2000)"}
"""Data that stand for those of the documents, so that a run takes a minute."""
FILES = {"mnist": "MNIST/raw/train-images-idx3-ubyte.gz", "spoken_digits": "fsdd/fsdd_8khz_int16.npz"}
RECORDINGS, HELD = 2400, 300
"""Training and other samples of recorded sequences: with fewer, the spoken digits do not show what the rule adds."""


def documented() -> list[str]:
    """Return the commands that train something new, as words of one line, each once."""
    lines = re.findall(r"^\$ (neurofa train\b[^#\n]*)", README, flags=re.MULTILINE)
    lines += re.findall(r"^\s+(neurofa train\b.*)$", train_command.__doc__ or "", flags=re.MULTILINE)
    commands = [shlex.split(line.partition("&&")[0])[1:] for line in lines]
    return list(dict.fromkeys(shlex.join(words) for words in commands if "--resume" not in words))


def test_the_documents_show_runs() -> None:
    assert len(documented()) >= 12
    assert "train" in documented()


def fewer(text: str) -> Dataset | Sequences:
    """Return a data set; of recorded sequences some samples alone."""
    data = load_data(text)
    if not isinstance(data, Sequences) or not hasattr(data.train, "chosen"):
        return data
    chosen = {}
    for where, split in data.splits().items():
        index = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
        chosen[where] = split.chosen(index[: RECORDINGS if where == "train" else HELD])  # type: ignore[attr-defined]
    return replace(data, **chosen)


@pytest.mark.slow
@pytest.mark.parametrize("line", documented())
def test_a_documented_run_beats_its_control(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)
    for name, file in FILES.items():
        if name in words and find_file(file) is None:
            pytest.skip(f"no {file} among the real data files")
    monkeypatch.setattr(trainer, "load_data", fewer)
    if "--out" in words:
        del words[words.index("--out") : words.index("--out") + 2]
    words = [SMALLER.get(word, word) for word in words]
    assert command([*words, "--threads", "1", "--quiet", "--out", str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    if result["spec"]["rule"] != "readout_only":
        assert result["test_accuracy"] > result["control_test_accuracy"], result["spec"]
