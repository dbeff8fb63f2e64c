"""``neurofa list`` and the help texts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cli import run_command as command
from hwmodels.registry import build, parts
from hwmodels.spec import parse


def listed(kind: str, capsys: pytest.CaptureFixture[str]) -> list[dict]:
    assert command(["list", kind, "--json"]) == 0
    return json.loads(capsys.readouterr().out)[kind]


@pytest.mark.parametrize("kind", ["rule", "device", "network", "data", "optimizer", "schedule", "loss", "feedback"])
def test_every_registered_part_is_listed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(kind, capsys)
    assert [row["name"] for row in found] == list(parts(kind))
    for row in found:
        assert row["description"], row["name"]
    assert command(["list", kind]) == 0
    table = capsys.readouterr().out
    for row in found:
        assert row["name"] in table


@pytest.mark.parametrize("kind", ["rule", "device", "optimizer", "schedule", "loss", "feedback"])
def test_listed_defaults_are_valid_specs(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for row in listed(kind, capsys):
        text = f"{row['name']}({', '.join(f'{key}={value}' for key, value in row['options'].items())})"
        assert build(kind, str(parse(text))) is not None


def test_options_without_a_default_are_listed_where_a_spec_has_to_give_them(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {row["name"]: row["options"] for row in listed("data", capsys)}
    assert shown["events"]["path"] == shown["events"]["unit"] == shown["table"]["target"] == "..."
    assert "..." not in shown["digits"].values()


def test_without_a_kind_every_kind_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["list", "--json"]) == 0
    kinds = json.loads(capsys.readouterr().out)
    assert {"rule", "device", "network", "data", "optimizer", "experiment", "speed"} <= set(kinds)
    assert kinds["network"]
    assert "input_shape" not in kinds["network"][0]["options"]


def test_an_unknown_kind_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["list", "rul"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'rule'" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["train", "evaluate", "list"])
def test_help_teaches_by_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([name, "--help"]) == 0
    assert f"neurofa {name}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from neurofa import __version__

    assert command(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"neurofa {__version__}"


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys; from experiments.cli import run_command as run; run(['--help']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == 0


def test_a_reader_that_leaves_is_no_error() -> None:
    code = "import sys; from experiments.cli import main; sys.argv[1:] = ['list']; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.wait(timeout=120)
    process.stderr.close()
    assert "Traceback" not in said
