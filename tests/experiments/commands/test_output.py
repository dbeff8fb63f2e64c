"""What commands print where the terminal has few characters, and without a terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from experiments import cli

SMALL = ["--data", "digits(subset=64)", "--network", "mlp(hidden=[8])", "--epochs", "2", "--no-control"]


def said(words: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Run the command with streams of an encoding; returns exit code, stdout and stderr."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["neurofa", *words])
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as left:
            cli.main()
        texts = []
        for stream in streams.values():
            stream.flush()
            # the library of the commands writes UTF-8 where it is told ASCII, which it takes for a mistake
            texts.append(stream.buffer.getvalue().decode("utf-8" if encoding == "ascii" else encoding, "replace"))  # type: ignore[attr-defined]
    return int(left.value.code or 0), texts[0], texts[1]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("words", [["train", "--help"], ["list", "profile"], ["list", "device"], ["speed", "śtep"]])
def test_every_encoding_will_do(words: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = said(words, encoding, monkeypatch)
    assert code == (2 if words[0] == "speed" else 0), err
    assert ("tep" in err) if code else out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_folder_with_other_letters(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = said(["train", *SMALL, "--out", str(tmp_path / "läufe-αβ")], encoding, monkeypatch)
    assert code == 0, err
    assert "picture: " in out


def test_without_a_terminal_there_is_a_line_an_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(["train", *SMALL, "--out", str(tmp_path / "run")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert line.startswith(f"dfa on digits(subset=64), epoch {number}/2: loss ")
        assert "%" in line
    assert cli.run_command(["train", *SMALL, "--quiet", "--out", str(tmp_path / "quiet")]) == 0
    assert capsys.readouterr().err == ""
