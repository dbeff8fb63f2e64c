"""Why does direct feedback alignment fail on convolutions, and does feedback that fits them help?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from experiments.charts.accuracies import accuracy_chart
from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above, at_most
from experiments.sweeps.rows import load_rows
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record, mean
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import Spec
from neurofa.core.plan import Site
from neurofa.core.randomness import generator
from neurofa.core.window import Window
from neurofa.linalg.convolution import ConvGeometry
from neurofa.theory.conv import local_bound, nearest_kernel, random_bound

CONTROL = "readout_only"
SIZES = ((14, 4), (28, 3), (28, 4), (32, 5))
"""Side of the image and of the kernel, pixels; no padding, stride 1."""
CHANNELS, OUTPUTS = 4, 10
CLOSE = 0.05
"""Relative distance of a measured root mean square from the formula."""
FEEDBACKS: Mapping[str, str] = {
    "dense": "dense", "orthogonal": "orthogonal", "repeated per channel": "pooled", "aligned, nmf": "aligned(by=nmf)",
    "aligned, svd": "aligned(by=svd)",
}  # fmt: skip
WIRINGS = {"shared": "convolutions", "local": "locally connected", "full": "unrolled, fully connected"}
SMALL = {"wiring": "mnist(subset=5000, validation=1000)", "feedback": "cifar10(subset=5000, validation=1000)"}
LARGE = {"wiring": "mnist", "feedback": "cifar10"}
RATES = (0.03, 0.1, 0.3)

BY_HAND = "another implementation of the projection, one draw of F"
MEASURED = {(14, 4): 0.0262, (28, 4): 0.0057, (28, 3): 0.0040}


class AlignConv(Experiment, name="align_conv"):
    """How far convolutions can align with their feedback, and what that does to learning.

    Parts: ``bound`` (largest cosine of any kernel with F_l F_{l-1}^T, for several sizes and feedbacks, beside the
    closed forms), ``wiring`` (one stack with shared kernels, with kernels of its own at every position, and unrolled to
    full layers: all three begin as the same function), ``feedback`` (a stack of convolutions with every structured
    feedback, beside dfa, bp and the readout alone). Methods are tuned on validation data with a seed of their own.

    Args:
        digits: data of the part wiring, instead of 5000 images of MNIST (with ``full`` all).
        images: data of the part feedback, instead of 5000 images of CIFAR-10 (with ``full`` all).
        draws: feedbacks of a size in the part bound.
        epochs: of the runs that count, instead of 5 (with ``full`` 20).
        tuning_epochs: of the runs that choose.
        rates: learning rates to choose from.

    Raises:
        NeurofaError: no draws.
    """

    source = "after Refinetti et al. 2021, arXiv 2011.12428 (feedbacks of the authors' code; the bound is derived here)"
    question = (
        "How closely can a convolution align with its feedback, does it help to untie or to connect its weights, and"
        " does feedback that fits windows and shared kernels teach convolutions better?"
    )
    parts = ("bound", "wiring", "feedback")

    def __init__(
        self, *, digits: Spec | str | None = None, images: Spec | str | None = None, draws: int = 20,
        epochs: int | None = None, tuning_epochs: int = 2, rates: list[float] | None = None,
    ) -> None:  # fmt: skip
        if draws < 1:
            raise NeurofaError(f"got align_conv(draws={draws}); expected at least 1; raise it")
        self.digits, self.images, self.draws, self.epochs = digits, images, draws, epochs
        self.tuning_epochs, self.rates = tuning_epochs, RATES if rates is None else rates

    def run(self, part: str, setup: Setup) -> Findings:
        if part == "bound":
            return _bound(setup, self.draws * (5 if setup.full else 1))
        common: Fields = {
            "batch_size": 64, "schedule": "cosine", "log": "alignment", "compute": setup.compute,
            "epochs": self.epochs or (20 if setup.full else 5),
        }  # fmt: skip
        named = self.digits if part == "wiring" else self.images
        data = str((LARGE if setup.full else SMALL)[part] if named is None else named)
        if part == "wiring":
            methods, control = wirings(self.rates), f"{WIRINGS['shared']}, {CONTROL}"
        else:
            methods, control = feedbacks(self.rates), CONTROL
        common = {**common, "data": data}
        study = Study(common=common, methods=methods, tuning_epochs=self.tuning_epochs, control=control)
        found = run_study(study, setup, name=part)
        rows = [{**line, **_alignment(line, common, setup)} for line in found.lines]
        picture = f"{part}.png"
        title = f"{part}: {data}, {common['epochs']} epochs, {setup.seeds} seeds"
        accuracy_chart(setup.folder / picture, rows, title=title, control=control)
        return Findings(
            rows=[_percent(row) for row in rows], tuning=found.tuning, checks=checks(part, rows), pictures=[picture],
            columns=["method", "test %", "margin %", "ga", "wa", "wa_bound", "n"],
        )  # fmt: skip


def wirings(rates: Sequence[float]) -> dict[str, list[Fields]]:
    """Candidates of dfa, bp and the readout alone in three wirings."""
    return {
        f"{name}, {rule}": [
            {
                "rule": rule, "optimizer": f"sgd(lr={lr})",
                "network": f"conv_stack(channels=[8, 8], kernel=4, activation=tanh, wiring={wiring})",
            }
            for lr in rates
        ]
        for wiring, name in WIRINGS.items()
        for rule in ("dfa", "bp", CONTROL)
        if rule != CONTROL or wiring == "shared"  # hidden layers that stay as they began are one function in all three
    }  # fmt: skip


def feedbacks(rates: Sequence[float]) -> dict[str, list[Fields]]:
    """Candidates of dfa with every feedback, of bp and of the readout alone, on three convolutions."""
    rules = {f"dfa, {name}": f"dfa(feedback={spec})" for name, spec in FEEDBACKS.items()}
    return {
        method: [
            {
                "rule": rule, "optimizer": f"sgd(lr={lr})",
                "network": "conv_stack(channels=[16, 32, 32], kernel=3, activation=tanh)",
            }
            for lr in rates
        ]
        for method, rule in {**rules, "bp": "bp", CONTROL: CONTROL}.items()
    }  # fmt: skip


def reachable(side: int, kernel: int, feedback: str, seed: int) -> float:
    """Largest cosine of a kernel with F_2 F_1^T, for images of ``side`` pixels and a convolution behind another layer.

    Args:
        side: of the input image, pixels.
        kernel: side of the kernel, pixels.
        feedback: spec of the pathway.
        seed: of the pathway.
    """
    geometry = _geometry(side, kernel)
    below = Site("below", geometry.in_shape, {}, True)
    sites = (below, Site("above", geometry.out_shape, {}, True, (), geometry.window))
    pathway = build("feedback", feedback)
    pathway.open(sites, OUTPUTS, generator(seed, "feedback"))
    with torch.no_grad():
        found = pathway(torch.eye(OUTPUTS))
    left, right = (found[name].flatten(1).t() for name in ("above", "below"))
    return nearest_kernel(left, right, geometry).cosine


def _geometry(side: int, kernel: int) -> ConvGeometry:
    window = Window(kernel)
    after = window.positions(side)
    return ConvGeometry(window, (CHANNELS, side, side), (CHANNELS, after, after))


def _bound(setup: Setup, draws: int) -> Findings:
    rows: list[Record] = []
    checks: list[ExperimentCheck] = []
    for side, kernel in SIZES:
        geometry = _geometry(side, kernel)
        predicted = dict.fromkeys(("dense", "orthogonal"), random_bound(geometry))
        predicted["repeated per channel"] = local_bound(geometry)
        best = {}
        for name, spec in FEEDBACKS.items():
            count = draws if name in ("dense", "orthogonal") else setup.seeds
            found = [reachable(side, kernel, spec, seed) for seed in range(count)]
            best[name] = math.sqrt(math.fsum(c**2 for c in found) / count)
            rows.append({
                "part": "bound", "method": f"{side}x{side}, kernel {kernel}: {name}", "feedback": name, "side": side,
                "kernel": kernel, "cosine": best[name], "predicted": predicted.get(name), "draws": count,
            })  # fmt: skip
            if name in predicted:
                off = abs(best[name] / predicted[name] - 1)
                what = f"bound: {side}x{side}, kernel {kernel}: {name}: measured over predicted, distance from 1"
                checks.append(at_most(what, off, CLOSE))
        for name in ("aligned, nmf", "aligned, svd"):
            gain = best[name] - predicted["repeated per channel"]
            what = f"bound: {side}x{side}, kernel {kernel}: {name} over repeated per channel"
            checks.append(above(what, gain, 0))
    curves = []
    for name in FEEDBACKS:
        mine = [row for row in rows if row["feedback"] == name]
        places = [float(row["kernel"]) / (float(row["side"]) * (row["side"] - row["kernel"] + 1)) for row in mine]
        order = sorted(zip(places, [float(row["cosine"]) for row in mine], strict=True))
        style = "x" if name == "orthogonal" else "o"
        curves.append(Curve(label=name, x=[x for x, _ in order], y=[y for _, y in order], style=style))
    ends = [min(curves[0].x), max(curves[0].x)]
    curves.append(Curve(label="k / √(P_in P_out)", x=ends, y=ends, style="--"))
    panel = Panel(
        title="any kernel, against F_l F_{l-1}ᵀ", marks=[*curves],
        x=Axis("k / √(P_in P_out)", scale="log"), y=Axis("largest cosine", scale="log"),
    )  # fmt: skip
    draw_figure(setup.folder / "bound.png", [panel], title=f"bound: {len(SIZES)} sizes, {CHANNELS} channels")
    reference = [
        Reference(f"{side}x{side}, kernel {kernel}: best cosine with Gaussian F", value, BY_HAND, "not published")
        for (side, kernel), value in MEASURED.items()
    ]
    columns = ["method", "cosine", "predicted", "draws"]
    return Findings(rows=rows, checks=checks, reference=reference, pictures=["bound.png"], columns=columns)


def _alignment(line: Record, common: Fields, setup: Setup) -> Record:
    """Alignment at the end of a method's runs, mean over seeds: of gradients, and of the second layer's weights."""
    setting = {key: line[key] for key in ("rule", "optimizer", "network")}
    rows = load_rows(setup.folder)
    specs = [RunSpec.from_json({**common, **setting, "seed": seed}) for seed in range(setup.seeds)]
    found: list[Any] = []
    for spec in specs:
        result: Any = rows[spec.key].result
        found.append(result["metrics"][-1]["alignment"])

    def average(values: Sequence[Any]) -> float | None:
        return mean([value for value in values if value is not None])

    second = [_second(run["layers"]) for run in found]
    if line["rule"] == "bp":  # its return weights are the forward weights, and nothing has to align
        second = []
    return {
        "ga": average([run["total"].get("delta_cosine") for run in found]),
        "wa": average([layer.get("weight_alignment") for layer in second]),
        "wa_bound": average([layer.get("weight_alignment_bound") for layer in second]),
    }


def _second(layers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The second layer with weights: the first whose input is the output of a layer with a feedback."""
    return list(layers.values())[1]  # type: ignore[no-any-return]


def _percent(row: Record) -> Record:
    from experiments.tables import percent_text

    return {
        **row, "test %": percent_text(row["test_accuracy"], row["test_accuracy_std"]),
        "margin %": percent_text(row["margin"], row["margin_std"]),
    }  # fmt: skip


def checks(part: str, rows: Sequence[Record]) -> list[ExperimentCheck]:
    """The statements of the parts that train.

    Args:
        part: ``wiring`` or ``feedback``.
        rows: one a method, accuracies as shares, with ``ga`` and ``wa``.
    """
    by = {row["method"]: row for row in rows}

    def points(method: str, key: str = "margin") -> float | None:
        value = by[method][key]
        return None if value is None else round(100 * float(value), 6)

    def less(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else a - b

    made = []
    if part == "wiring":
        lost = {}
        for wiring, name in WIRINGS.items():
            made.append(above(f"wiring: margin of {name}, dfa over {CONTROL}, points", points(f"{name}, dfa"), 0))
            lost[wiring] = less(points(f"{name}, bp"), points(f"{name}, dfa"))
        for wiring in ("local", "full"):
            gap = less(lost["shared"], lost[wiring])
            made.append(above(f"wiring: what dfa loses to bp, shared over {wiring}, points", gap, 0))
        aligned = less(by[f"{WIRINGS['full']}, dfa"]["wa"], by[f"{WIRINGS['shared']}, dfa"]["wa"])
        made.append(above("wiring: weight alignment of the second layer, full over shared", aligned, 0))
        return made
    plain = "dfa, dense"
    for name in FEEDBACKS:
        method = f"dfa, {name}"
        made.append(above(f"feedback: margin of {method} over {CONTROL}, points", points(method), 0))
        if method != plain:
            gained = less(points(method, "test_accuracy"), points(plain, "test_accuracy"))
            made.append(above(f"feedback: {method} over {plain}, points", gained, 0))
            aligned = less(by[method]["wa"], by[plain]["wa"])
            if name != "orthogonal":  # no closer to a kernel than independent entries are
                made.append(above(f"feedback: weight alignment of the second layer, {method} over {plain}", aligned, 0))
    return made
