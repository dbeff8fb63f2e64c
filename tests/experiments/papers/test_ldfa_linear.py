"""The experiment ldfa_linear: what its table and checks say, on a small network."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from experiments.papers.ldfa_linear import (
    ERRORS,
    FIXED,
    LABELS,
    METHODS,
    Q_TRACKS,
    SCRIPT,
    STEADY,
    TOP,
    overlap,
    plasticity,
)
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.theory.moments import Moments

SMALL = "ldfa_linear(n=24, k=12, m=12, rank=2, samples=200, steps=1500)"


@pytest.mark.long
def test_the_command_finds_the_modes_that_a_fixed_p_misses(tmp_path: Path) -> None:
    result = conduct(build("experiment", SMALL), Setup(folder=tmp_path, seeds=1, workers=0), parts=["oja", "step"])
    rows = {row["method"]: row for row in result["rows"] if row["part"] == "oja"}
    assert set(rows) == set(METHODS["oja"])
    for row in rows.values():
        assert row["error"] < 0.01  # equations with the samples' own moments
        assert row["error"] < row["error_white"]
        assert row["modes_per_seed"] == [row["modes_theory"]]
    assert rows[TOP]["modes_theory"] >= 2
    assert rows[FIXED]["modes_theory"] < 2
    assert rows[TOP]["overlap"] == pytest.approx(1)
    assert rows[FIXED]["overlap"] < 0.9
    ratios = [row["ratio"] for row in result["rows"] if row["part"] == "step" and row["ratio"] is not None]
    assert len(ratios) == 6
    assert all(1.8 < ratio < 2.2 for ratio in ratios)
    said = {check["name"]: check["holds"] for check in result["checks"]}
    assert said[f"oja: control: theory of '{FIXED}' against simulation of '{LABELS}', rms"]
    assert said["oja: P fixed, from small weights: largest distance of a mode from |Pi v_j|^2"]
    for part in ("oja", "step"):
        assert (tmp_path / f"{part}.png").read_bytes().startswith(b"\x89PNG")


def test_rates_are_those_of_the_script() -> None:
    script = plasticity(SCRIPT)
    gain, _ = script.gains(100 * 2.5e-3)
    assert gain * 2.5e-3 == pytest.approx(1e-3 * 0.999**100)
    assert script.decay * 2.5e-3 == pytest.approx(1e-5)
    assert (plasticity(Q_TRACKS).p, plasticity(STEADY).fading) == ("fixed", 0.0)


def test_overlap_is_that_of_subspaces() -> None:
    a = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5]))
    white = Moments.white(a)
    mixed = torch.tensor([[1.0, 1, 0, 0], [1, -2, 0, 0]])
    assert overlap(white, mixed) == pytest.approx(1)
    assert overlap(white, torch.eye(4)[1:3]) == pytest.approx(0.5)


def test_checks_follow_the_figures() -> None:
    rows = [
        {"method": method, "error": 0.001, "modes_theory": modes, "overlap": share}
        for method, modes, share in ((FIXED, 0, 0.05), (TOP, 2, 1.0), (LABELS, 2, 1.0), (ERRORS, 2, 1.0))
    ]
    assert all(check.holds for check in build("experiment", "ldfa_linear").checks("oja", rows))
    for index, key, value in ((2, "modes_theory", 0), (1, "error", 0.2), (2, "overlap", 0.5), (3, "overlap", math.nan)):
        changed = [dict(row) for row in rows]
        changed[index][key] = value
        assert (
            len([check for check in build("experiment", "ldfa_linear").checks("oja", changed) if not check.holds]) == 1
        )


def test_a_rank_that_leaves_nothing_out_is_refused() -> None:
    with pytest.raises(NeurofaError, match="rank=8"):
        build("experiment", "ldfa_linear(n=10, k=8, m=8, rank=8)")
