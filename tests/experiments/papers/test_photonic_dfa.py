"""The experiment photonic_dfa: what its runs are, what its checks say, and that its parts work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.papers.photonic_dfa import (
    HOLOGRAPHY,
    MOVING,
    OPTICS_THEN,
    RINGS,
    RINGS_THEN,
    SAMPLE,
    STILL,
    TRITS,
    PhotonicDFA,
)
from experiments.sweeps.experiment import conduct
from experiments.sweeps.rows import load_rows
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError
from hwmodels.projections.opu import OPU
from hwmodels.registry import build

CHECKS = PhotonicDFA().checks
SMALL = "photonic_dfa(data=digits, hidden=12, epochs=1, sigmas=[0, 0.202], steps=[3])"


def done(tmp_path: Path, part: str, spec: str = SMALL) -> dict[str, Any]:
    return conduct(build("experiment", spec), Setup(folder=tmp_path, seeds=1, workers=0), parts=[part])


def rules(tmp_path: Path) -> list[str]:
    return [str(row.spec["rule"]) for row in load_rows(tmp_path).values()]


def test_noise_is_swept_in_both_conventions_with_the_sources_gain(tmp_path: Path) -> None:
    result = done(tmp_path, "noise")
    places = [(row["series"], row["x"]) for row in result["rows"]]
    assert places == [
        (RINGS, 0.0),
        (RINGS, 0.202),
        (SAMPLE, 0.0),
        (SAMPLE, 0.202),
        ("bp", None),
        ("readout_only", None),
    ]
    assert all("full_scale=batch" in row["rule"] for row in result["rows"] if (row["series"], row["x"]) == places[1])
    assert all("full_scale=sample" in row["rule"] for row in result["rows"] if (row["series"], row["x"]) == places[3])
    # without noise there is no full scale, and both series are the same runs
    assert result["rows"][0]["test_accuracies"] == result["rows"][2]["test_accuracies"]
    # U(-1, 1) / sqrt(hidden), as the source draws it, is one of the candidates
    assert any(f"gain={(10 / 12) ** 0.5:.4g}" in rule for rule in rules(tmp_path))
    assert (tmp_path / "noise.png").read_bytes().startswith(b"\x89PNG")
    assert all(figure["certainty"].startswith("remembered") for figure in result["reference"])
    assert json.loads((tmp_path / "result.json").read_text()) == result


def test_times_in_steps_are_latencies_of_a_batch(tmp_path: Path) -> None:
    result = done(tmp_path, "drift", SMALL.replace("steps=[3]", "steps=[3, 100]"))
    moving = [row for row in result["rows"] if row["series"] == MOVING]
    assert [row["x"] for row in moving] == [3.0, 100.0]
    for row in moving:
        pathway = build("rule", row["rule"]).feedback.projection
        assert isinstance(pathway, OPU)
        assert pathway.decorrelation == pytest.approx(row["x"] * pathway.latency(64), rel=1e-5)
    still = next(row for row in result["rows"] if row["series"] == STILL)
    assert build("rule", still["rule"]).feedback.projection.decorrelation is None


def test_optical_and_digital_projections_stand_side_by_side(tmp_path: Path) -> None:
    result = done(tmp_path, "opu")
    assert {row["method"] for row in result["rows"]} >= {HOLOGRAPHY, TRITS, "optical, anchors", "readout_only", "bp"}
    assert all("second hand" in figure["certainty"] for figure in result["reference"])


def noise_lines(shift: float) -> list[dict[str, Any]]:
    lines = [
        {
            "series": series,
            "x": sigma,
            "method": f"{series}, {sigma:g}",
            "test_accuracy": (then + up) / 100,
            "margin": 0.01,
        }
        for sigma, then in RINGS_THEN.items()
        for series, up in ((RINGS, 0.0), (SAMPLE, shift if sigma else 0.0))
    ]
    return [
        *lines,
        {"series": "readout_only", "x": None, "method": "readout_only", "test_accuracy": 0.9, "margin": None},
    ]


def test_checks_of_noise_follow_the_figures() -> None:
    assert all(check.holds for check in CHECKS("noise", noise_lines(0.3)))
    fallen = [check.name for check in CHECKS("noise", noise_lines(-0.3)) if not check.holds]
    assert fallen == [f"noise: sigma {s:g}: sample over batch full scale, points" for s in (0.098, 0.202)]
    far = noise_lines(0.3)
    far[0]["test_accuracy"] -= 0.011
    assert [check.name for check in CHECKS("noise", far) if not check.holds] == [
        f"noise: {RINGS}, sigma 0: distance from the remembered figure, points"
    ]
    # a sigma that was not run does not hold
    assert not all(check.holds for check in CHECKS("noise", noise_lines(0.3)[2:]))


@pytest.mark.parametrize(("holography", "holds"), [(0.97, True), (0.95, False)])
def test_checks_of_the_optical_processor_follow_the_figures(holography: float, holds: bool) -> None:
    accuracies = {HOLOGRAPHY: holography, TRITS: OPTICS_THEN[TRITS] / 100}
    lines = [{"series": m, "x": None, "method": m, "test_accuracy": a, "margin": 0.1} for m, a in accuracies.items()]
    made = {check.name: check.holds for check in CHECKS("opu", lines)}
    assert made[f"opu: {HOLOGRAPHY}: test accuracy, %"] is holds
    assert made["opu: what holography costs beside digital trits, points"] is holds
    assert made[f"opu: {TRITS}: test accuracy, %"]


def drift_lines(*accuracies: float) -> list[dict[str, Any]]:
    times = [1.0, 1e3, 1e4, 1e5]
    curve = [{"series": MOVING, "x": x, "test_accuracy": a} for x, a in zip(times, accuracies, strict=True)]
    levels = [{"series": s, "x": None, "test_accuracy": a} for s, a in ((STILL, 0.97), ("readout_only", 0.92))]
    return [*curve, *levels]


def test_checks_of_drift_find_where_learning_dies() -> None:
    alive, dead, late, early = (
        list(CHECKS("drift", drift_lines(*accuracies)))
        for accuracies in (
            (0.92, 0.94, 0.96, 0.97),
            (0.92, 0.92, 0.92, 0.92),
            (0.92, 0.92, 0.92, 0.97),
            # alive at a short time but not at a longer one: only what holds from there on counts
            (0.94, 0.94, 0.92, 0.97),
        )
    )
    assert alive[2].value == 1e3
    assert all(check.holds for check in alive)
    assert dead[2].value is None
    assert not dead[2].holds
    assert not dead[0].holds
    assert late[2].value == early[2].value == 1e5
    assert not late[2].holds
    assert not early[1].holds


def test_registered() -> None:
    assert isinstance(build("experiment", "photonic_dfa"), PhotonicDFA)


def test_two_points_at_one_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NeurofaError, match="two points"):
        done(tmp_path, "drift", SMALL.replace("steps=[3]", "steps=[3, 3]"))
