"""``neurofa cost``: the object on stdout, the tables, refusals."""

import json

import pytest

from experiments.cli import run_command as run
from neurofa.core.products import PHASES


def test_the_object_adds_up(capsys):
    assert run(["cost", "--rule", "fdfa", "--network", "mlp(hidden=[12])", "--batch", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["flop"]) == [*PHASES, "total"]
    assert found["flop"]["total"] == sum(found["flop"][phase] for phase in PHASES)
    assert found["ratio"] == found["flop"]["total"] / found["baseline"]["flop"]["total"]
    assert found["flop"]["forward"] == 2 * 8 * (64 * 12 + 12 * 10) == found["baseline"]["flop"]["forward"]
    assert found["flop"]["passes"] == 2 * 8 * 12 * 10  # the change of the hidden layer, on its way through the readout
    assert found["bytes"]["total"] == sum(v for k, v in found["bytes"].items() if k != "total")
    assert sum(sum(phases.values()) for phases in found["layers"].values()) == found["flop"]["total"]


def test_the_tables(capsys):
    assert run(["cost", "--rule", "kp", "--network", "cnn", "--optimizer", "adam", "--layers"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in (*PHASES, "total", "activations", "optimizer", "conv2d0"))


@pytest.mark.parametrize("words", [["--rule", "dfaa"], ["--network", "cnnn"], ["--optimizer", "sgdd"]])
def test_unknown_parts_are_refused_in_one_line(words, capsys):
    assert run(["cost", *words]) == 2
    assert "did you mean" in capsys.readouterr().err
