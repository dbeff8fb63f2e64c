"""The experiments on alignment: their measures on known networks and courses, and what their checks say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.papers import align_degeneracy_deep as degeneracy
from experiments.papers import align_label_noise as noise
from experiments.papers import align_sequential as sequential
from experiments.runs.measurements import Measurement
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from hwmodels.errors import NeurofaError
from hwmodels.registry import build

NOISE = build("experiment", "align_label_noise")


def run(spec: str, folder: Path, seeds: int = 2, parts: tuple[str, ...] = ()) -> dict[str, Any]:
    result = conduct(build("experiment", spec), Setup(folder=folder, seeds=seeds, workers=0), parts=parts)
    for picture in result["pictures"]:
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "result.json").read_text()) == result
    for columns in result["columns"].values():
        assert all(any(column in row for row in result["rows"]) for column in columns)
    return result


def test_similarity_is_the_cosine_of_weights_without_biases():
    networks = [build("network", "mlp(hidden=[5])", input_shape=(4,), outputs=3, seed=seed) for seed in (0, 0, 1)]
    for index, network in enumerate(networks):
        network.layer("dense0").synapses["bias"].weight.data.fill_(index)
    networks[1].layer("dense0").synapses["weight"].weight.data.mul_(-2)
    found = degeneracy.similarities([degeneracy.flat_weights(network) for network in networks])
    assert list(found) == ["dense0", "dense1"]
    assert found["dense0"][0] == pytest.approx(-1)
    assert found["dense1"][0] == pytest.approx(1)
    assert found["dense0"][1] == pytest.approx(-found["dense0"][2])
    assert all(abs(c) < 0.9 for c in found["dense1"][1:])


@pytest.mark.long
def test_networks_that_share_their_feedback_end_alike_and_others_do_not(tmp_path: Path):
    digits = "digits(subset=600)"
    spec = f"align_degeneracy_deep(digits='{digits}', hidden=[32], epochs=6, tuning_epochs=1)"
    result = run(spec, tmp_path, seeds=3, parts=("mnist",))
    at = {(row["part"], row["method"], row["layer"]): row for row in result["rows"]}
    assert len(at) == 3 * 2
    for layer in ("dense1", "dense2"):
        shared, own, bp = (at["mnist", m, layer] for m in (degeneracy.SHARED, degeneracy.OWN, degeneracy.BP))
        assert len(shared["pairs"]) == 3
        assert min(shared["pairs"]) > max(*own["pairs"], *bp["pairs"])
        assert all(abs(row["start"]) < 0.1 for row in (shared, own, bp))
        # trained by the same rule with the same settings
        assert shared["optimizer"] == own["optimizer"]
    assert all(check["holds"] for check in result["checks"] if check["name"].startswith("mnist: dense2"))
    # the second time nothing is left to do, unless a network is missing
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/model.safetensors")}
    next(iter(before)).with_name("result.json").unlink()
    assert run(spec, tmp_path, seeds=3, parts=("mnist",))["rows"] == result["rows"]
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [next(iter(before))]


def test_checks_on_similarity_compare_worst_with_best():
    def rows(shared: list[float]) -> list[dict[str, Any]]:
        pairs = {degeneracy.SHARED: shared, degeneracy.OWN: [0.0, 0.1], degeneracy.BP: [0.0, 0.2]}
        return [{"method": method, "layer": "dense1", "pairs": found} for method, found in pairs.items()]

    assert [
        check.holds for check in build("experiment", "align_degeneracy_deep").checks("mnist", rows([0.3, 0.5]))
    ] == [True, True]
    assert [
        check.holds for check in build("experiment", "align_degeneracy_deep").checks("mnist", rows([0.15, 0.9]))
    ] == [False, True]


def seed_of(times: dict[str, int]) -> list[Measurement]:
    """A run whose layers align at these steps."""
    return [
        Measurement(
            step,
            {"total": {}, "layers": {n: {"delta_cosine": 0.8 * (step >= t)} for n, t in times.items()}},
            None,
            None,
        )
        for step in range(0, 50, 5)
    ]


@pytest.mark.parametrize(
    ("times", "taus", "holds"),
    [
        ([{"a": 10, "b": 20, "c": 30}, {"a": 10, "b": 20, "c": 30}], [1, 1], True),
        ([{"a": 30, "b": 20, "c": 10}, {"a": 30, "b": 20, "c": 10}], [-1, -1], False),
        ([{"a": 10, "b": 20, "c": 30}, {"a": 30, "b": 20, "c": 10}], [1, -1], False),
    ],
)
def test_the_order_of_layers_is_ranked_seed_by_seed(times, taus, holds):
    rows = [row for row in sequential.order_rows("part", [seed_of(t) for t in times]) if row["alignment"] == "gradient"]
    assert [row["layer"] for row in rows] == ["a", "b", "c", sequential.ALL]
    assert rows[-1]["taus"] == pytest.approx(taus)
    assert [check.holds for check in build("experiment", "align_sequential").checks("part", rows)] == [holds]
    # half of the peak of 0.8, between the look before and the one at the time
    assert rows[0]["align_steps"] == pytest.approx([t["a"] - 2.5 for t in times])


def test_sequential_alignment_runs(tmp_path: Path):
    result = run("align_sequential(data='digits(subset=300)', hidden=[12, 12], epochs=2, tuning_epochs=1)", tmp_path)
    assert {row["part"] for row in result["rows"]} == {"tanh", "relu", "linear"}
    layers = [row["layer"] for row in result["rows"] if row["part"] == "tanh"]
    assert layers == ["dense1", "dense2", sequential.ALL, "dense2", "dense3", sequential.ALL]
    assert len(result["checks"]) == 6
    with pytest.raises(NeurofaError, match="two layers or more"):
        build("experiment", "align_sequential(hidden=[12])")


def test_label_noise_runs_at_one_rate_for_all_shares(tmp_path: Path):
    data = "digits(subset=100)"
    spec = f"align_label_noise(data='{data}', hidden=[12, 12], shares=[0, 0.9], epochs=2, tuning_epochs=1)"
    result = run(spec, tmp_path)
    assert [row["p"] for row in result["rows"]] == [0, 0.9]
    assert len({row["optimizer"] for row in result["rows"]}) == 1
    assert {trial["optimizer"] for trial in result["tuning"]} == {f"sgd(lr={lr})" for lr in noise.RATES}
    for row in result["rows"]:
        assert row["ga_fall"] == pytest.approx(row["ga_peak"] - row["ga_end"])
    for wrong in ("shares=[0.5, 0.1]", "shares=[]", "shares=[1.5]", "hidden=[3]"):
        with pytest.raises(NeurofaError, match="got "):
            build("experiment", f"align_label_noise({wrong})")


def test_the_ideal_isotropy_of_random_labels():
    covariance = torch.eye(10) / 10 - torch.ones(10, 10) / 100
    ideal = covariance.trace() / (10**0.5 * covariance.norm())
    assert noise.IDEAL.value == pytest.approx(float(ideal), abs=5e-4)


def test_checks_on_noise_follow_the_figures():
    def row(p: float, wa: list[float], falls: list[float]) -> dict[str, Any]:
        return {"p": p, "wa_peaks": wa, "ga_falls": falls}

    clean = row(0, [0.3, 0.4], [0.0, 0.1])
    assert [c.holds for c in NOISE.checks("noise", [clean, row(0.9, [0.5, 0.6], [0.2, 0.3])])] == [True] * 3
    assert [c.holds for c in NOISE.checks("noise", [clean, row(0.9, [0.35, 0.9], [0.0, 0.3])])] == [False] * 3
    assert not list(NOISE.checks("noise", [clean]))
