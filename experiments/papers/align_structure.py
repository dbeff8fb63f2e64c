"""Which structure of inputs and labels makes direct feedback alignment align well?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve, HeatMap, Mark
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above, at_most
from experiments.sweeps.rows import SweepRow
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import TUNING_SEED
from experiments.sweeps.sweep import run_sweep
from experiments.tables import Record, group_means, mean
from hwmodels.errors import NeurofaError
from neurofa.core.randomness import generator
from neurofa.linalg.spectra import isotropy
from neurofa.theory.deep_linear import DeepLinear
from neurofa.theory.structure import effective_dimension, label_covariance, random_label_isotropy, structured_task

INPUTS, SAMPLES, WIDTH = 9, 1000, 100
CLOSE = 0.03
"""Distance of a measured root mean square isotropy from the predicted one."""
DECAYS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Exponents k of input variances exp(-k i)."""
MANY_INPUTS = 40
RATES = (0.2, 0.1, 0.05, 0.025, 0.0125)
"""Learning rates of the part training, the largest first."""
STEADY = 1.1
"""Training loss over the lowest of the epochs before: so far a run may rise and still count as descending."""

FIGURE = "Refinetti et al. 2021, figures stored in the authors' code, other sizes and 10 000 epochs"
BY_EYE = "read by eye from a picture, not verified"
THEN = {
    ("relu", 0.2, 0.2): 0.68, ("relu", 0.6, 1.0): 0.83, ("relu", 1.0, 1.0): 0.84, ("tanh", 0.2, 0.2): 0.63,
    ("tanh", 1.0, 1.0): 0.80,
}  # fmt: skip
"""Gradient alignment at the end, by activation, alpha and beta."""


class AlignStructure(Experiment, name="align_structure"):
    """Alignment against the structure of a task whose labels do not depend on its inputs.

    Labels have two outputs; alpha is the standard deviation of the second, one minus beta their correlation. Parts:
    ``early`` (deep linear nets: isotropy of A_2, the weight alignment of the second layer, beside a closed form),
    ``inputs`` (the same against the effective dimension of the inputs), ``training`` (networks of two hidden layers
    with an activation: gradient and weight alignment in the course of training).

    Labels that do not depend on the inputs cannot be predicted, so that validation cannot choose a learning rate. Each
    activation trains at the largest rate at which the training loss descends steadily on every task of the grid, with
    a seed of its own: runs that nearly diverge show the alignment of their bursts and not that of the task.

    Args:
        values: of alpha and beta; default: 0.2, 0.6, 1 in the part training, 0.2, 0.4, ..., 1 in the others and in all
            with ``full``.
        activations: of the part training.
        draws: data sets of a point in the parts early and inputs, at least 10.
        epochs: of the part training.
        lr: learning rate of the part training; default: chosen.

    Raises:
        NeurofaError: too few draws, or no rate is steady.
    """

    source = "after Refinetti et al. 2021, arXiv 2011.12428 (the alpha-beta task of the authors' code)"
    question = (
        "Do unequal variances and correlations of the labels make alignment harder, as the conditioning of the early"
        " alignment matrices predicts, in linear and in other networks?"
    )
    parts = ("early", "inputs", "training")

    def __init__(
        self, *, values: list[float] | None = None, activations: list[str] | None = None, draws: int = 100,
        epochs: int | None = None, lr: float | None = None,
    ) -> None:  # fmt: skip
        if draws < 10:
            raise NeurofaError(f"got align_structure(draws={draws}); expected at least 10 to average over; raise it")
        self.values, self.draws, self.epochs, self.lr = values, draws, epochs, lr
        self.activations = ["relu", "tanh"] if activations is None else activations

    def run(self, part: str, setup: Setup) -> Findings:
        fine = [0.2, 0.4, 0.6, 0.8, 1.0]
        if part == "early":
            return _early(setup, self.values or fine, self.draws * (10 if setup.full else 1))
        if part == "inputs":
            return _inputs(setup, self.draws * (10 if setup.full else 1))
        values = self.values or (fine if setup.full else [0.2, 0.6, 1.0])
        epochs = self.epochs or (2000 if setup.full else 300)
        chosen: dict[str, float] = {}
        tuning: list[Record] = []
        for activation in self.activations:
            if self.lr is None:
                chosen[activation], tried = steadiest(setup, activation, values, epochs)
                tuning += tried
            else:
                chosen[activation] = self.lr
        return _training(setup, values, chosen, epochs, tuning)


def early_isotropy(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Train a linear network of three layers for the first steps; isotropy of A_2, and the norm of A_2.

    Args:
        x: (P, n_0).
        y: (P, o).
    """
    gen = generator(0, "orthogonal")
    drawn = [torch.randn(20, y.shape[1], generator=gen, dtype=torch.float64) for _ in range(2)]
    theory = DeepLinear([torch.linalg.qr(f)[0] for f in drawn], x.shape[1])
    for _ in range(4):
        theory.step(x, y, 1e-3)
    return isotropy(theory.matrices[1]), float(theory.matrices[1].norm())


def pooled(found: Sequence[tuple[float, float]]) -> float:
    """sqrt(sum (tr A)^2 / (o sum ||A||^2)) over draws, whose expectation the closed form is about."""
    weight = math.fsum(norm**2 for _, norm in found)
    return math.sqrt(math.fsum((value * norm) ** 2 for value, norm in found) / weight)


def _early(setup: Setup, values: Sequence[float], draws: int) -> Findings:
    rows: list[Record] = []
    for alpha, beta in itertools.product(values, values):
        gen = generator(0, "early", f"{alpha:g}", f"{beta:g}")
        found = [early_isotropy(*structured_task(SAMPLES, INPUTS, alpha, beta, gen)) for _ in range(draws)]
        labels = label_covariance(alpha, beta)
        rows.append({
            "part": "early", "method": f"alpha {alpha:g}, beta {beta:g}", "alpha": alpha, "beta": beta, "draws": draws,
            "isotropy": mean([value for value, _ in found]), "pooled": pooled(found),
            "predicted": random_label_isotropy(labels, INPUTS), "many_inputs": random_label_isotropy(labels),
        })  # fmt: skip
    gap = max(abs(float(row["pooled"]) - float(row["predicted"])) for row in rows)
    checks = [
        at_most("early: pooled isotropy of A_2 minus the closed form, largest of the grid", gap, CLOSE),
        *_ordered("early", "isotropy of A_2", rows, "isotropy"),
    ]
    grids = [
        _grid(f"{what}, {INPUTS} inputs", rows, values, key)
        for what, key in (("isotropy of A_2, measured", "isotropy"), ("closed form", "predicted"))
    ]
    draw_figure(setup.folder / "early.png", grids, title=f"early: linear, {draws} data sets a point")
    columns = ["method", "isotropy", "pooled", "predicted", "many_inputs", "draws"]
    return Findings(rows=rows, checks=checks, pictures=["early.png"], columns=columns)


def _inputs(setup: Setup, draws: int) -> Findings:
    rows: list[Record] = []
    for outputs, decay in itertools.product((2, 10), DECAYS):
        variances = torch.exp(-decay * torch.arange(MANY_INPUTS, dtype=torch.float64))
        dimension = effective_dimension(variances.diag())
        gen = generator(0, "inputs", str(outputs), f"{decay:g}")
        found = []
        for _ in range(draws):
            x = torch.randn(SAMPLES, MANY_INPUTS, generator=gen, dtype=torch.float64) * variances.sqrt()
            found.append(early_isotropy(x, torch.randn(SAMPLES, outputs, generator=gen, dtype=torch.float64)))
        rows.append({
            "part": "inputs", "method": f"{outputs} outputs, decay {decay:g}", "outputs": outputs, "draws": draws,
            "dimension": dimension, "isotropy": mean([value for value, _ in found]), "pooled": pooled(found),
            "predicted": random_label_isotropy(torch.eye(outputs, dtype=torch.float64), dimension),
        })  # fmt: skip
    gap = max(abs(float(row["pooled"]) - float(row["predicted"])) for row in rows)
    checks = [at_most("inputs: pooled isotropy of A_2 minus the closed form, largest", gap, CLOSE)]
    curves: list[Mark] = []
    for outputs in (2, 10):
        mine = [row for row in rows if row["outputs"] == outputs]
        places = [float(row["dimension"]) for row in mine]
        lost = [float(a["pooled"]) - float(b["pooled"]) for a, b in itertools.pairwise(mine)]
        checks.append(above(f"inputs: {outputs} outputs: what each smaller dimension costs, least", min(lost), 0))
        curves += [
            Curve(label=f"{outputs} outputs", x=places, y=[float(row["predicted"]) for row in mine]),
            Curve(label=f"{outputs} outputs", x=places, y=[float(row["pooled"]) for row in mine], style="o"),
        ]
    panel = Panel(
        title="labels of equal variance; dots: measured, lines: closed form", marks=curves,
        x=Axis("effective dimension of the inputs (tr S)² / tr S²", scale="log"), y=Axis("isotropy of A_2"),
    )  # fmt: skip
    draw_figure(setup.folder / "inputs.png", [panel], title=f"inputs: linear, {draws} data sets a point")
    columns = ["method", "dimension", "isotropy", "pooled", "predicted", "draws"]
    return Findings(rows=rows, checks=checks, pictures=["inputs.png"], columns=columns)


def run_of(activation: str, alpha: float, beta: float, seed: int, *, lr: float, epochs: int, compute: str) -> RunSpec:
    """One training run of the part training, with the feedback gain of the authors' code, U(-1, 1) / sqrt(width)."""
    return RunSpec(
        data=f"structured(alpha={alpha:g}, beta={beta:g}, n_in={INPUTS}, samples={SAMPLES}, seed={seed})",
        network=f"mlp(hidden=[{WIDTH}, {WIDTH}], activation={activation}, bias=False)",
        rule=f"dfa(feedback=dense(gain={math.sqrt(2 / WIDTH):.4g}))", optimizer=f"sgd(lr={lr:g})", loss="mse",
        epochs=epochs, batch_size=100, seed=seed, log="alignment", compute=compute,
    )  # fmt: skip


def rise(losses: Sequence[float]) -> float:
    """The largest loss over the lowest before it; 1 where they only fall.

    >>> rise([4.0, 2.0, 3.0, 1.0])
    1.5
    """
    return max(loss / low for loss, low in zip(losses, itertools.accumulate(losses, min), strict=True))


def steadiest(
    setup: Setup, activation: str, values: Sequence[float], epochs: int
) -> tuple[float, list[Record]]:  # fmt: skip
    """The largest of the learning rates at which the loss descends steadily on all tasks, and a line a rate tried.

    Raises:
        NeurofaError: there is none.
    """
    tried: list[Record] = []
    for lr in RATES:
        tasks = list(itertools.product(values, values))
        specs = [
            replace(
                run_of(activation, *task, TUNING_SEED, lr=lr, epochs=epochs, compute=setup.compute), log="none"
            )
            for task in tasks
        ]  # fmt: skip
        rows = _sweep(specs, setup, f"training: {activation} at {lr:g}")
        # a run without a result has left the finite numbers
        rises = [math.inf if row.result is None else rise(_losses(row.result)) for row in rows]
        worst = max(rises)
        failed = sum(math.isinf(each) for each in rises)
        tried.append({
            "part": "training", "method": activation, "optimizer": f"sgd(lr={lr:g})",
            "rise": None if failed else worst, "diverged": failed, "n": len(rises),
        })  # fmt: skip
        if worst <= STEADY:
            return lr, tried
    raise NeurofaError(
        f"got losses of {activation} that rise {worst:.3g}-fold at lr={RATES[-1]:g}; expected a steady descent;"
        " give a smaller lr"
    )


def _sweep(specs: Sequence[RunSpec], setup: Setup, title: str) -> list[SweepRow]:
    return run_sweep(specs, setup, title=title)


def _losses(result: Mapping[str, Any]) -> list[float]:
    return [float(epoch["train_loss"]) for epoch in result["metrics"]]


def _training(
    setup: Setup, values: Sequence[float], rates: Mapping[str, float], epochs: int, tuning: list[Record]
) -> Findings:  # fmt: skip
    activations = list(rates)
    cells = list(itertools.product(activations, values, values, range(setup.seeds)))
    specs = [run_of(*cell, lr=rates[cell[0]], epochs=epochs, compute=setup.compute) for cell in cells]
    done = _sweep(specs, setup, "training")
    runs = [_measures(*cell, row) for cell, row in zip(cells, done, strict=True)]
    measured = ["ga_peak", "ga_last", "wa_peak", "wa_last", "loss", "rise"]
    rows = group_means(runs, ["part", "method", "activation", "alpha", "beta"], measured)
    checks, panels = [], []
    for activation in activations:
        mine = [row for row in rows if row["activation"] == activation]
        worst = max(float(run["rise"]) for run in runs if run["activation"] == activation)
        checks.append(
            at_most(f"training: {activation}: loss over the lowest before, largest of all runs", worst, STEADY)
        )
        for key, what in (("ga_peak", "gradient alignment at its peak"), ("wa_peak", "weight alignment at its peak")):
            checks += _ordered(f"training: {activation}", what, mine, key)
            panels.append(_grid(f"{activation}: {what}", mine, values, key))
        if setup.full:  # shorter runs end while the weights still align
            one = [run for run in runs if run["activation"] == activation]
            fall = [float(run["wa_peak"]) - float(run["wa_last"]) for run in one]
            checks.append(above(f"training: {activation}: weight alignment falls after its peak, by", mean(fall), 0))
    title = f"training: {epochs} epochs of {SAMPLES} samples, {setup.seeds} seeds"
    draw_figure(setup.folder / "training.png", panels, title=title)
    reference = [
        Reference(f"{activation}, alpha {alpha:g}, beta {beta:g}: gradient alignment", value, FIGURE, BY_EYE)
        for (activation, alpha, beta), value in THEN.items()
        if activation in activations
    ]
    return Findings(
        rows=rows, tuning=tuning, checks=checks, reference=reference, pictures=["training.png"],
        columns=["method", *measured, "n"],
    )  # fmt: skip


def _measures(activation: str, alpha: float, beta: float, seed: int, row: SweepRow) -> Record:
    if row.result is None:
        raise NeurofaError(
            f"got a failed run of training (alpha {alpha:g}, beta {beta:g}, seed {seed}: {row.error}); expected all to"
            " finish; start the experiment again"
        )
    metrics: Any = row.result["metrics"]
    course = [epoch["alignment"] for epoch in metrics]
    # None where it is not defined: a layer without an error
    gradients = [value for found in course if (value := found["total"]["delta_cosine"]) is not None]
    weights = [float(found["layers"]["dense1"]["weight_alignment"]) for found in course]
    return {
        "part": "training", "method": f"{activation}, alpha {alpha:g}, beta {beta:g}", "activation": activation,
        "alpha": alpha, "beta": beta, "seed": seed, "ga_peak": max(gradients), "ga_last": gradients[-1],
        "wa_peak": max(weights), "wa_last": weights[-1], "loss": float(metrics[-1]["train_loss"]),
        "rise": rise(_losses(row.result)),
    }  # fmt: skip


def _ordered(part: str, what: str, rows: Sequence[Record], key: str) -> list[ExperimentCheck]:
    """Whether a measure rises from the smallest to the largest alpha and beta, averaged over the other."""
    made = []
    for axis in ("alpha", "beta"):
        places = sorted({row[axis] for row in rows})
        low, high = (mean([float(row[key]) for row in rows if row[axis] == at]) for at in (places[0], places[-1]))
        if len(places) > 1 and low is not None and high is not None:
            made.append(above(f"{part}: {what}: largest {axis} over smallest", high - low, 0))
    return made


def _grid(title: str, rows: Sequence[Record], values: Sequence[float], key: str) -> Panel:
    found = {(row["alpha"], row["beta"]): float(row[key]) for row in rows}
    places = sorted(values)
    ticks = {float(index): f"{place:g}" for index, place in enumerate(places)}
    image = HeatMap(values=[[found[a, b] for a in places] for b in places], numbers=True)
    return Panel(
        title=title, marks=[image], x=Axis("α, deviation of the second output", ticks=ticks),
        y=Axis("β, one minus the correlation", ticks=ticks),
    )  # fmt: skip
