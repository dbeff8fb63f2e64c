"""The budget: predicted alignment against the measured one, and what it says where it cannot know."""

import json

import pytest
import torch

from experiments.cli import run
from hwmodels.registry import build
from neurofa.theory.budget import budget

PROJECTIONS = [
    "microring(sigma=0.098)",
    "microring(sigma=0.618, mu=0.03, full_scale=batch)",
    "crossbar(periphery=training)",
    "crossbar(device=gaussian(read_noise=0.3), periphery=exact)",
    "crossbar(device=hermes, periphery=inference)",
]


def start(spec, size=1.0):
    gen = torch.Generator().manual_seed(0)
    projection = build("projection", spec)
    projection.open(10, 1200, gen)
    return projection, (torch.randn(64, 10, generator=gen) * size).softmax(1) - torch.eye(10)[torch.arange(64) % 10]


@pytest.mark.parametrize("size", [0.1, 5.0])
@pytest.mark.parametrize("spec", PROJECTIONS)
def test_predicted_and_measured_alignment_agree(spec, size):
    projection, error = start(spec, size)
    lines = budget(projection, error, torch.Generator().manual_seed(1))
    assert lines
    for line in lines:
        assert line.predicted == pytest.approx(line.measured, abs=0.02), line


def test_another_sigma_is_told_apart():
    projection, error = start("microring(sigma=0.618)")
    (line,) = budget(projection, error, torch.Generator().manual_seed(1))
    projection.sigma = 0.4
    (other,) = budget(projection, error, torch.Generator().manual_seed(1))
    assert abs(other.predicted - line.measured) > 0.05


def test_static_errors_are_no_noise_and_what_is_not_modelled_is_said():
    for spec in ("matrix_free", "microring(sigma=0, spacing=3)", "crossbar(device=stuck(low=0.3), periphery=exact)"):
        projection, error = start(spec)
        assert budget(projection, error, torch.Generator()) == []
    for spec in ("opu", "mzi", "opu(detection=intensity)", "crossbar(rows=4)"):
        projection, error = start(spec)
        assert budget(projection, error, torch.Generator()) is None


def test_errors_that_are_lost_in_the_converters_leave_nothing():
    projection, _ = start("crossbar(periphery=inference)")
    tiny = torch.full((8, 10), 1e-5)
    lines = {line.source: line for line in budget(projection, tiny, torch.Generator().manual_seed(1))}
    assert lines["input rounding (DAC)"].predicted == pytest.approx(0, abs=1e-6)
    assert lines["input rounding (DAC)"].measured == pytest.approx(0, abs=1e-6)


def test_the_command(capsys):
    assert run(["budget", "--json", "--network", "mlp(hidden=[300])"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lines"][0]["predicted"] == pytest.approx(found["lines"][0]["measured"], abs=0.02)
    assert run(["budget", "--rule", "dfa(feedback=crossbar)"]) == 0
    assert "largest loss: output noise" in capsys.readouterr().out
    assert run(["budget", "--rule", "dfa(feedback=opu)"]) == 0
    assert "not modelled" in capsys.readouterr().out
    assert run(["budget", "--rule", "dfa"]) == 2
    assert "no projection" in capsys.readouterr().err
