"""The experiments align_*: what they measure, that their checks can fail, and that their parts work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve, HeatMap
from experiments.papers import align_conv, align_deep_linear, align_structure
from experiments.sweeps.experiment import conduct
from experiments.sweeps.setup import Setup
from experiments.tables import group_means
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.linalg.spectra import isotropy
from neurofa.theory.conv import local_bound
from neurofa.theory.moments import Moments
from neurofa.theory.structure import label_covariance, structured_task


def done(spec: str, folder: Path, *parts: str, seeds: int = 1) -> dict[str, Any]:
    result = conduct(build("experiment", spec), Setup(folder=folder, seeds=seeds, workers=0), parts=parts)
    assert json.loads((folder / "result.json").read_text()) == result
    for name in result["pictures"]:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    for part, columns in result["columns"].items():
        assert all(set(columns) <= set(row) for row in result["rows"] if row["part"] == part)
    return result


def failed(result: dict[str, Any]) -> list[str]:
    return [check["name"] for check in result["checks"] if not check["holds"]]


@pytest.mark.long
def test_deep_linear_holds_everything_it_says(tmp_path: Path) -> None:
    result = done("align_deep_linear(width=20)", tmp_path, "early", "conditioning")
    assert not failed(result)
    slopes = {row["method"]: row["slope"] for row in result["rows"] if row["part"] == "early"}
    assert list(slopes.values()) == pytest.approx([1, 2, 4, 8], rel=0.01)


def test_controls_are_far_from_the_form_of_weak_alignment() -> None:
    case = align_deep_linear.LinearCase("small", (20, 20), steps=100)
    near = align_deep_linear.compare_with_recursion(case, 0)
    assert near["off"] < align_deep_linear.EXACT
    assert near["loss_ratio"] < 0.5
    for control in align_deep_linear.CONTROLS:
        small = align_deep_linear.LinearCase("small", (20, 20), control.activation, control.zero, steps=100)
        assert align_deep_linear.compare_with_recursion(small, 0)["off"] > align_deep_linear.FAR


def test_two_layers_are_too_few() -> None:
    with pytest.raises(NeurofaError, match="at least 3 layers"):
        build("experiment", "align_deep_linear(layers=2)")


def test_early_isotropy_is_that_of_the_cross_covariance() -> None:
    x, y = structured_task(200, 5, 0.4, 0.6, torch.Generator().manual_seed(0))
    s = Moments.of(x, y).yx
    assert align_structure.early_isotropy(x, y)[0] == pytest.approx(isotropy(s @ s.t()), abs=1e-3)


def test_structure_follows_the_closed_form(tmp_path: Path) -> None:
    result = done("align_structure(values=[0.2, 1.0], draws=40)", tmp_path, "early")
    assert not [name for name in failed(result) if "largest" in name and "over smallest" in name]
    grid = {(row["alpha"], row["beta"]): row for row in result["rows"]}
    assert len(grid) == 4
    for row in grid.values():
        assert row["pooled"] == pytest.approx(row["predicted"], abs=0.06)
    swapped = abs(grid[0.2, 0.2]["pooled"] - grid[1.0, 1.0]["predicted"])
    assert swapped > 0.1


@pytest.mark.long
def test_structure_trains_networks_and_reports_their_alignment(tmp_path: Path) -> None:
    result = done("align_structure(values=[0.2, 1.0], activations=[tanh], epochs=2)", tmp_path, "training")
    assert [(row["alpha"], row["beta"]) for row in result["rows"]] == [(0.2, 0.2), (0.2, 1.0), (1.0, 0.2), (1.0, 1.0)]
    for row in result["rows"]:
        assert row["ga_peak"] >= row["ga_last"]
        assert row["wa_peak"] >= row["wa_last"]
    assert {figure["certainty"] for figure in result["reference"]} == {align_structure.BY_EYE}
    with pytest.raises(NeurofaError, match="draws=3"):
        build("experiment", "align_structure(draws=3)")


def test_structured_data_has_the_covariance_it_names() -> None:
    data = build("data", "structured(alpha=0.5, beta=0.4, samples=20000, seed=3)")
    assert [len(split) for split in data.splits().values()] == [20000, 100, 100]
    found = Moments.of(data.train.x, data.train.y)
    assert torch.allclose(found.yy, label_covariance(0.5, 0.4), atol=0.03)
    assert float(found.yx.abs().max()) < 0.03
    other = build("data", "structured(alpha=0.5, beta=0.4, samples=20000, seed=4)")
    assert not torch.equal(other.train.x, data.train.x)
    for bad in ("samples=0", "alpha=-1.0", "beta=2.0"):
        with pytest.raises(NeurofaError, match="got "):
            build("data", f"structured({bad})")


def test_the_bound_is_measured_for_several_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align_conv, "SIZES", ((10, 3), (12, 3), (14, 4)))
    result = done("align_conv(draws=10)", tmp_path, "bound")
    assert not failed(result)
    predicted = [row["predicted"] for row in result["rows"] if row["feedback"] == "dense"]
    assert predicted == pytest.approx([3 / 80, 3 / 120, 4 / 154])
    # the same statement about another formula does not hold
    monkeypatch.setattr(align_conv, "random_bound", local_bound)
    assert len(failed(done("align_conv(draws=10)", tmp_path, "bound"))) == 6


SMALL = "align_conv(digits='digits', images='digits', epochs=1, tuning_epochs=1, rates=[0.1])"


@pytest.mark.long
def test_wirings_stand_beside_their_controls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align_conv, "wirings", lambda rates: _smaller(wirings(rates)))
    result = done(SMALL, tmp_path, "wiring")
    rows = {row["method"]: row for row in result["rows"]}
    assert len(rows) == 7
    assert rows["convolutions, readout_only"]["ga"] is None
    for method in ("convolutions, dfa", "unrolled, fully connected, dfa"):
        assert -1 <= rows[method]["wa"] <= 1
        assert rows[method]["ga"] is not None
    assert rows["convolutions, bp"]["ga"] == pytest.approx(1.0)
    assert rows["convolutions, dfa"]["wa_bound"] >= rows["convolutions, dfa"]["wa"]
    assert len(result["checks"]) == 6


def test_feedbacks_stand_beside_their_controls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align_conv, "feedbacks", lambda rates: _smaller(feedbacks(rates)))
    result = done(SMALL, tmp_path, "feedback")
    assert {row["rule"] for row in result["rows"]} >= {"bp", "readout_only", "dfa(feedback=orthogonal)"}
    assert len(result["rows"]) == len(align_conv.FEEDBACKS) + 2
    dense, fits = (next(r for r in result["rows"] if r["method"] == f"dfa, {n}") for n in ("dense", "aligned, nmf"))
    assert fits["wa_bound"] > 2 * dense["wa_bound"]


wirings, feedbacks = align_conv.wirings, align_conv.feedbacks


def _smaller(methods: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same methods on stacks that fit images of 8 x 8."""
    spec = "conv_stack(channels=[3, 4], kernel=3, stride=1, activation=tanh"
    return {
        method: [
            {
                **c,
                "network": spec + (f", wiring={c['network'].split('wiring=')[1]}" if "wiring" in c["network"] else ")"),
            }
            for c in candidates
        ]
        for method, candidates in methods.items()
    }


def test_checks_of_learning_can_fail() -> None:
    def row(method: str, accuracy: float, wa: float) -> dict[str, Any]:
        return {"method": method, "test_accuracy": accuracy, "margin": accuracy - 0.3, "wa": wa, "ga": 0.1}

    names = ["dense", *[n for n in align_conv.FEEDBACKS if n != "dense"]]
    rising = [row(f"dfa, {name}", 0.31 + 0.01 * k, 0.01 * k) for k, name in enumerate(names)]
    assert all(check.holds for check in build("experiment", "align_conv").checks("feedback", rising))
    falling = [row(f"dfa, {name}", 0.29 - 0.01 * k, -0.01 * k) for k, name in enumerate(names)]
    assert not any(check.holds for check in build("experiment", "align_conv").checks("feedback", falling))


def test_means_over_seeds_keep_the_seeds() -> None:
    rows = [{"m": "a", "v": 1.0}, {"m": "b", "v": 5.0}, {"m": "a", "v": 3.0}]
    first, second = group_means(rows, ["m"], ["v"])
    assert first == {"m": "a", "n": 2, "v": 2.0, "v_std": pytest.approx(2**0.5), "v_each": [1.0, 3.0]}
    assert (second["n"], second["v"], second["v_std"]) == (1, 5.0, None)


@pytest.mark.parametrize("count", [1, 4])
def test_panels_of_both_kinds_are_drawn(tmp_path: Path, count: int) -> None:
    curve = Curve(label="a", x=[1, 10, 1000], y=[1, 2, 3])
    curves = Panel(title="c", x=Axis("x", scale="log"), y=Axis("y", scale="log"), marks=[curve])
    flat = Panel(title="g", x=Axis("x", ticks={0: "1", 1: "2"}), marks=[HeatMap(values=[[0.5, 0.5]], numbers=True)])
    draw_figure(tmp_path / "p.png", [curves, flat, curves, flat][:count], title="t")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_rise_is_over_the_lowest_loss_before() -> None:
    assert align_structure.rise([4.0, 2.0, 3.0, 1.0, 1.2]) == 1.5
    assert align_structure.rise([3.0, 2.0, 1.0]) == 1


def test_structure_trains_at_the_largest_steady_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align_structure, "RATES", (20.0, 0.1, 0.05))
    result = done("align_structure(values=[1.0], activations=[relu], epochs=3)", tmp_path, "training")
    wild, steady = result["tuning"]
    assert wild["optimizer"] == "sgd(lr=20)"
    assert wild["diverged"] or wild["rise"] > align_structure.STEADY
    assert steady["optimizer"] == "sgd(lr=0.1)"
    assert steady["rise"] <= align_structure.STEADY
    assert not [name for name in failed(result) if "loss over the lowest" in name]
    monkeypatch.setattr(align_structure, "RATES", (20.0,))
    with pytest.raises(NeurofaError, match="expected a steady descent"):
        done("align_structure(values=[1.0], activations=[relu], epochs=3)", tmp_path, "training")
    # a rate that is given is taken, and the check says what it does
    given = done("align_structure(values=[1.0], activations=[relu], epochs=6, lr=0.9)", tmp_path / "given", "training")
    assert given["tuning"] == []
    assert [name for name in failed(given) if "loss over the lowest" in name]
