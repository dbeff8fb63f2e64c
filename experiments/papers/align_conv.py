"""Why does direct feedback alignment fail on convolutions, and does feedback that fits them help?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.protocols.tables import mean_known, minus, tuned_table
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, above, at_most, cited, margin_checks
from experiments.sweeps.rows import SweepRow
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields, Study
from experiments.tables import Record, percent
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import Spec
from neurofa.core.plan import Site
from neurofa.core.randomness import generator
from neurofa.core.window import Window
from neurofa.linalg.convolution import ConvGeometry
from neurofa.theory.conv import local_bound, nearest_kernel, random_bound

SIZES = ((14, 4), (28, 3), (28, 4), (32, 5))
"""Side of the image and of the kernel, pixels; no padding, stride 1."""
CHANNELS, OUTPUTS = 4, 10
CLOSE = 0.05
"""Relative distance of a measured root mean square from the formula."""
DENSE, ORTHOGONAL, POOLED = "dense", "orthogonal", "repeated per channel"
FEEDBACKS = {DENSE: "dense", ORTHOGONAL: "orthogonal", POOLED: "pooled"}
FEEDBACKS |= {"aligned, nmf": "aligned(by=nmf)", "aligned, svd": "aligned(by=svd)"}
WIRINGS = {"shared": "convolutions", "local": "locally connected", "full": "unrolled, fully connected"}
SHARED_CONTROL = f"{WIRINGS['shared']}, {CONTROL}"
DATA = {
    "wiring": ("mnist(subset=5000, validation=1000)", "mnist"),
    "feedback": ("cifar10(subset=5000, validation=1000)", "cifar10"),
}
"""Data by part, at the default and at the full size."""
MEASURED = {(14, 4): 0.0262, (28, 4): 0.0057, (28, 3): 0.0040}
COSINES = {f"{side}x{side}, kernel {kernel}": cosine for (side, kernel), cosine in MEASURED.items()}
BY_HAND = ("another implementation of the projection, one draw of F", "not published")
REFERENCES = cited(COSINES, *BY_HAND, quantity="best cosine with Gaussian F")


@dataclass(frozen=True, kw_only=True)
class AlignConv(Experiment, name="align_conv"):
    """How far convolutions can align with their feedback, and what that does to learning.

    Parts: ``bound`` (largest cosine of any kernel with F_l F_{l-1}^T, for several sizes and feedbacks, beside the
    closed forms), ``wiring`` (one stack with shared kernels, with kernels of its own at every position, and unrolled to
    full layers: all three begin as the same function), ``feedback`` (a stack of convolutions with every structured
    feedback, beside dfa, bp and the readout alone). Methods are tuned on validation data with a seed of their own.

    Raises:
        NeurofaError: no draws.
    """

    source = "after Refinetti et al. 2021, arXiv 2011.12428 (feedbacks of the authors' code; the bound is derived here)"
    differs = (
        "the bound is derived here; stacks, data and the 20 epochs are ours, where the source trains larger networks"
    )
    question = "How closely can convolutions align, and do untied weights or feedback that fits windows teach better?"
    parts = ("bound", "wiring", "feedback")

    digits: Spec | str | None = None
    """Data of the part wiring; None: 5000 images of MNIST (full: all)."""
    images: Spec | str | None = None
    """Data of the part feedback; None: 5000 images of CIFAR-10 (full: all)."""
    draws: int = 20
    """Random feedbacks of each size in the part bound (full: five times as many)."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 5 (full: 20)."""
    tuning_epochs: int = 2
    """Epochs of the runs that choose."""
    rates: tuple[float, ...] = (0.03, 0.1, 0.3)
    """Learning rates to choose from."""

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise NeurofaError(f"got align_conv(draws={self.draws}); expected at least 1; raise it")

    def run(self, part: str, setup: Setup) -> Findings:
        if part == "bound":
            return _bound(setup, self.draws * (5 if setup.full else 1))
        data = (self.digits if part == "wiring" else self.images) or DATA[part][setup.full]
        common = {"data": str(data), "batch_size": 64, "schedule": "cosine", "log": "alignment"}
        common |= {"compute": setup.compute, "epochs": self.epochs or (20 if setup.full else 5)}
        methods, control = (wirings, SHARED_CONTROL) if part == "wiring" else (feedbacks, CONTROL)
        epochs = self.tuning_epochs
        study = Study(common=common, methods=methods(self.rates), tuning_epochs=epochs, control=control)
        columns = ["method", "test_accuracy", "margin", "ga", "wa", "wa_bound", "n"]
        return replace(tuned_table(study, setup, part, measure=_alignment), columns=columns)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        return {"bound": _check_bound, "wiring": _check_wiring, "feedback": _check_feedback}[part](rows)


def wirings(rates: Sequence[float]) -> dict[str, list[Fields]]:
    """Return the candidate settings, by method, of dfa, bp and a readout alone in each of :data:`WIRINGS`.

    Args:
        rates: learning rates to choose from.
    """
    network = "conv_stack(channels=[8, 8], kernel=4, activation=tanh, wiring={wiring})"
    return {
        f"{name}, {rule}": rate_grid(rule, rates, network=network.format(wiring=wiring))
        for wiring, name in WIRINGS.items()
        for rule in ("dfa", "bp", CONTROL)
        if rule != CONTROL or wiring == "shared"  # hidden layers that stay as they began are one function in all three
    }


def feedbacks(rates: Sequence[float]) -> dict[str, list[Fields]]:
    """Return the candidate settings, by method, of dfa with each of :data:`FEEDBACKS`, of bp and of a readout alone.

    All train a network of three convolutions.

    Args:
        rates: learning rates to choose from.
    """
    network = "conv_stack(channels=[16, 32, 32], kernel=3, activation=tanh)"
    rules = {f"dfa, {name}": f"dfa(feedback={spec})" for name, spec in FEEDBACKS.items()} | {"bp": "bp"}
    return {name: rate_grid(rule, rates, network=network) for name, rule in {**rules, CONTROL: CONTROL}.items()}


def _alignment(runs: Sequence[SweepRow]) -> Record:
    """Return alignment at the end of training, mean over seeds: of gradients, and of the second layer's weights."""
    ends = [run.metrics[-1]["alignment"] for run in runs]
    # The second layer with weights is the first whose input is the output of a layer with a feedback. The return
    # weights of bp are its forward weights, and nothing has to align.
    second = [] if runs[0].spec["rule"] == "bp" else [list(end["layers"].values())[1] for end in ends]
    return {
        "ga": mean_known(end["total"].get("delta_cosine") for end in ends),
        "wa": mean_known(layer.get("weight_alignment") for layer in second),
        "wa_bound": mean_known(layer.get("weight_alignment_bound") for layer in second),
    }


def reachable(side: int, kernel: int, feedback: str, seed: int) -> float:
    """Return the largest cosine of a kernel with F_2 F_1^T, for a convolution behind another layer.

    Args:
        side: side of the input image, pixels.
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
        signals = pathway(torch.eye(OUTPUTS))
    left, right = (signals[name].flatten(1).t() for name in ("above", "below"))
    return nearest_kernel(left, right, geometry).cosine


def _geometry(side: int, kernel: int) -> ConvGeometry:
    """Return the geometry of a convolution without padding behind another layer."""
    window = Window(kernel)
    after = window.positions(side)
    return ConvGeometry(window, (CHANNELS, side, side), (CHANNELS, after, after))


def _bound(setup: Setup, draws: int) -> Findings:
    rows: list[Record] = []
    bounds = {DENSE: random_bound, ORTHOGONAL: random_bound, POOLED: local_bound}
    for (side, kernel), (name, spec) in itertools.product(SIZES, FEEDBACKS.items()):
        count = draws if name in (DENSE, ORTHOGONAL) else setup.seeds
        # the closed forms are about the mean square of the cosine
        squares = math.fsum(reachable(side, kernel, spec, seed) ** 2 for seed in range(count))
        predicted = bounds[name](_geometry(side, kernel)) if name in bounds else None
        row = {"part": "bound", "method": f"{side}x{side}, kernel {kernel}: {name}", "feedback": name, "side": side}
        row |= {"kernel": kernel, "cosine": math.sqrt(squares / count), "predicted": predicted, "draws": count}
        rows.append(row)
    x, y = Axis("k / √(P_in P_out)", scale="log"), Axis("largest cosine", scale="log")
    panel = Panel(title="any kernel, against F_l F_{l-1}ᵀ", x=x, y=y)
    for name in FEEDBACKS:
        points = sorted((_place(row), float(row["cosine"])) for row in rows if row["feedback"] == name)
        places, cosines = zip(*points, strict=True)
        panel.marks.append(Curve(label=name, x=places, y=cosines, style="x" if name == ORTHOGONAL else "o"))
    ends = [min(map(_place, rows)), max(map(_place, rows))]
    panel.marks.append(Curve(label="k / √(P_in P_out)", x=ends, y=ends, style="--"))
    draw_figure(setup.folder / "bound.png", [panel], title=f"bound: {len(SIZES)} sizes, {CHANNELS} channels")
    columns = ["method", "cosine", "predicted", "draws"]
    return Findings(rows=rows, reference=REFERENCES, pictures=["bound.png"], columns=columns)


def _place(row: Record) -> float:
    """Return k / sqrt(P_in P_out), with P the positions of the input and of the output."""
    return float(row["kernel"] / (row["side"] * (row["side"] - row["kernel"] + 1)))


def _check_bound(rows: Sequence[Record]) -> Checks:
    local = {(row["side"], row["kernel"]): row["predicted"] for row in rows if row["feedback"] == POOLED}
    for row in rows:
        if row["predicted"] is None:
            gain = row["cosine"] - local[row["side"], row["kernel"]]
            yield above(f"bound: {row['method']} over {POOLED}", gain, 0)
        else:
            off = abs(row["cosine"] / row["predicted"] - 1)
            yield at_most(f"bound: {row['method']}: measured over predicted, distance from 1", off, CLOSE)


def _check_wiring(rows: Sequence[Record]) -> Checks:
    by = {row["method"]: row for row in rows}
    lost = {}
    for wiring, name in WIRINGS.items():
        dfa, bp = by[f"{name}, dfa"], by[f"{name}, bp"]
        yield from margin_checks("wiring", [dfa], CONTROL)
        lost[wiring] = bp["margin"] - dfa["margin"]
    for wiring in ("local", "full"):
        gap = percent(lost["shared"] - lost[wiring])
        yield above(f"wiring: what dfa loses to bp, shared over {wiring}, points", gap, 0)
    aligned = minus(by[f"{WIRINGS['full']}, dfa"]["wa"], by[f"{WIRINGS['shared']}, dfa"]["wa"])
    yield above("wiring: weight alignment of the second layer, full over shared", aligned, 0)


def _check_feedback(rows: Sequence[Record]) -> Checks:
    plain = next(row for row in rows if row["method"] == f"dfa, {DENSE}")
    for row in [row for row in rows if row["method"].startswith("dfa, ")]:
        yield from margin_checks("feedback", [row], CONTROL)
        if row is not plain:
            what = f"{row['method']} over {plain['method']}"
            gained = percent(row["test_accuracy"] - plain["test_accuracy"])
            yield above(f"feedback: {what}, points", gained, 0)
            if row["method"] != f"dfa, {ORTHOGONAL}":  # no closer to a kernel than independent entries are
                aligned = minus(row["wa"], plain["wa"])
                yield above(f"feedback: weight alignment of the second layer, {what}", aligned, 0)
