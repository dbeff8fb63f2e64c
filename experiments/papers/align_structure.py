"""Which structure of inputs and labels makes direct feedback alignment align well?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve, HeatMap
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Checks, Experiment, Findings, above, at_most, cited
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
FINE, COARSE = (0.2, 0.4, 0.6, 0.8, 1.0), (0.2, 0.6, 1.0)
"""Values of alpha and beta."""
DECAYS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Exponents k of input variances exp(-k i)."""
MANY_INPUTS = 40
RATES = (0.2, 0.1, 0.05, 0.025, 0.0125)
"""Learning rates of the part training, the largest first."""
STEADY = 1.1
"""Training loss over the lowest of the epochs before: so far a run may rise and still count as descending."""
MEASURED = ("ga_peak", "ga_last", "wa_peak", "wa_last", "loss", "rise")
"""Columns of the part training."""

FIGURE = "Refinetti et al. 2021, figures stored in the authors' code, other sizes and 10 000 epochs"
BY_EYE = "read by eye from a picture, not verified"
THEN = {
    "relu": {"alpha 0.2, beta 0.2": 0.68, "alpha 0.6, beta 1": 0.83, "alpha 1, beta 1": 0.84},
    "tanh": {"alpha 0.2, beta 0.2": 0.63, "alpha 1, beta 1": 0.80},
}
"""Gradient alignment at the end, by activation."""


@dataclass(frozen=True, kw_only=True)
class AlignStructure(Experiment, name="align_structure"):
    """Alignment against the structure of a task whose labels do not depend on its inputs.

    Labels have two outputs; alpha is the standard deviation of the second, one minus beta their correlation. Parts:
    ``early`` (deep linear nets: isotropy of A_2, the weight alignment of the second layer, beside a closed form),
    ``inputs`` (the same against the effective dimension of the inputs), ``training`` (networks of two hidden layers
    with an activation: gradient and weight alignment in the course of training).

    Labels that do not depend on the inputs cannot be predicted, so that validation cannot choose a learning rate. Each
    activation trains at the largest rate at which the training loss descends steadily on every task of the grid, with
    a seed of its own: runs that nearly diverge show the alignment of their bursts and not that of the task.

    Raises:
        NeurofaError: too few draws, or no rate is steady.
    """

    source = "after Refinetti et al. 2021, arXiv 2011.12428 (the alpha-beta task of the authors' code)"
    differs = (
        "networks, tasks of the grid and the choice of the rate are ours; effective dimensions are not in the source"
    )
    question = "Do unequal variances and correlations of labels make alignment harder, as early conditioning predicts?"
    parts = ("early", "inputs", "training")

    values: tuple[float, ...] = ()
    """Values of alpha and beta; none: 0.2, 0.4, ..., 1 (0.2, 0.6, 1 in the part training, if not ``full``)."""
    activations: tuple[str, ...] = ("relu", "tanh")
    """Activations of the part training."""
    draws: int = 100
    """Data sets of a point in the parts early and inputs, at least 10 (full: ten times as many)."""
    epochs: int | None = None
    """Epochs of the part training, instead of 300 (full: 2000)."""
    lr: float | None = None
    """Learning rate of the part training; None: chosen."""

    def __post_init__(self) -> None:
        if self.draws < 10:
            raise NeurofaError(f"got align_structure(draws={self.draws}); expected at least 10; raise it")

    def run(self, part: str, setup: Setup) -> Findings:
        draws = self.draws * (10 if setup.full else 1)
        if part == "early":
            return _early(setup, self.values or FINE, draws)
        return _inputs(setup, draws) if part == "inputs" else self._training(setup)

    def _training(self, setup: Setup) -> Findings:
        values = self.values or (FINE if setup.full else COARSE)
        epochs = self.epochs or (2000 if setup.full else 300)
        rows: list[Record] = []
        tuning: list[Record] = []
        panels = []
        for activation in self.activations:
            rate = self.lr
            if rate is None:
                rate, tried = steadiest(setup, activation, values, epochs)
                tuning += tried
            cells = list(itertools.product([activation], values, values, range(setup.seeds)))
            specs = [run_of(*cell, lr=rate, epochs=epochs, compute=setup.compute) for cell in cells]
            trained = run_sweep(specs, setup, title="training")
            runs = [_measures(*cell, run) for cell, run in zip(cells, trained, strict=True)]
            means = group_means(runs, ["part", "method", "activation", "alpha", "beta"], MEASURED)
            panels += [_map(f"{activation}: {PEAKS[key]}", means, values, key) for key in PEAKS]
            rows += means
        title = f"training: {epochs} epochs of {SAMPLES} samples, {setup.seeds} seeds"
        draw_figure(setup.folder / "training.png", panels, title=title)
        then = {f"{a}, {task}": value for a in self.activations for task, value in THEN.get(a, {}).items()}
        found = Findings(rows=rows, tuning=tuning, pictures=["training.png"], columns=["method", *MEASURED, "n"])
        # shorter runs end while the weights still align
        falls = list(_check_falls(rows)) if setup.full else []
        return replace(found, checks=falls, reference=cited(then, FIGURE, BY_EYE, quantity="gradient alignment"))

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        return {"early": _check_early, "inputs": _check_inputs, "training": _check_training}[part](rows)


def early_isotropy(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Train a linear network of three layers for the first steps; return isotropy and norm of A_2.

    Args:
        x: (P, n_0).
        y: (P, o).
    """
    gen = generator(0, "orthogonal")
    drawn = [torch.randn(20, y.shape[1], generator=gen, dtype=torch.float64) for _ in range(2)]
    theory = DeepLinear([torch.linalg.qr(f)[0] for f in drawn], x.shape[1])
    # each layer waits one step for the one below; then A_2 exists, and the weights are still small
    for _ in range(4):
        theory.step(x, y, 1e-3)
    return isotropy(theory.matrices[1]), float(theory.matrices[1].norm())


def _isotropies(draws: Sequence[tuple[float, float]]) -> Record:
    """Return columns of isotropies with norms over draws: their mean, and ``pooled``.

    The pooled one is sqrt(sum (tr A)^2 / (o sum ||A||^2)), whose expectation the closed form is about.
    """
    weight = math.fsum(norm**2 for _, norm in draws)
    pooled = math.sqrt(math.fsum((value * norm) ** 2 for value, norm in draws) / weight)
    return {"isotropy": mean([value for value, _ in draws]), "pooled": pooled, "draws": len(draws)}


def _early(setup: Setup, values: Sequence[float], draws: int) -> Findings:
    rows = []
    for alpha, beta in itertools.product(values, values):
        gen = generator(0, "early", f"{alpha:g}", f"{beta:g}")
        found = [early_isotropy(*structured_task(SAMPLES, INPUTS, alpha, beta, gen)) for _ in range(draws)]
        labels = label_covariance(alpha, beta)
        row = {"part": "early", "method": f"alpha {alpha:g}, beta {beta:g}", "alpha": alpha, "beta": beta}
        row |= {"predicted": random_label_isotropy(labels, INPUTS), "many_inputs": random_label_isotropy(labels)}
        rows.append(row | _isotropies(found))
    titles = {"isotropy": "isotropy of A_2, measured", "predicted": "closed form"}
    maps = [_map(f"{title}, {INPUTS} inputs", rows, values, key) for key, title in titles.items()]
    draw_figure(setup.folder / "early.png", maps, title=f"early: linear, {draws} data sets a point")
    columns = ["method", "isotropy", "pooled", "predicted", "many_inputs", "draws"]
    return Findings(rows=rows, pictures=["early.png"], columns=columns)


def _check_early(rows: Sequence[Record]) -> Checks:
    gap = max(abs(row["pooled"] - row["predicted"]) for row in rows)
    yield at_most("early: pooled isotropy of A_2 minus the closed form, largest of the grid", gap, CLOSE)
    yield from _check_order("early", "isotropy of A_2", rows, "isotropy")


def _inputs(setup: Setup, draws: int) -> Findings:
    rows = []
    for outputs, decay in itertools.product((2, 10), DECAYS):
        variances = torch.exp(-decay * torch.arange(MANY_INPUTS, dtype=torch.float64))
        dimension = effective_dimension(variances.diag())
        gen = generator(0, "inputs", str(outputs), f"{decay:g}")
        found = []
        for _ in range(draws):
            x = torch.randn(SAMPLES, MANY_INPUTS, generator=gen, dtype=torch.float64) * variances.sqrt()
            found.append(early_isotropy(x, torch.randn(SAMPLES, outputs, generator=gen, dtype=torch.float64)))
        predicted = random_label_isotropy(torch.eye(outputs, dtype=torch.float64), dimension)
        row = {"part": "inputs", "method": f"{outputs} outputs, decay {decay:g}", "outputs": outputs}
        rows.append(row | {"dimension": dimension, "predicted": predicted} | _isotropies(found))
    across = Axis("effective dimension of the inputs (tr S)² / tr S²", scale="log")
    title = "labels of equal variance; dots: measured, lines: closed form"
    panel = Panel(title=title, x=across, y=Axis("isotropy of A_2"))
    for outputs, (key, style) in itertools.product((2, 10), (("predicted", "-"), ("pooled", "o"))):
        points = [(row["dimension"], row[key]) for row in rows if row["outputs"] == outputs]
        places, values = zip(*points, strict=True)
        panel.marks.append(Curve(label=f"{outputs} outputs", x=places, y=values, style=style))
    draw_figure(setup.folder / "inputs.png", [panel], title=f"inputs: linear, {draws} data sets a point")
    columns = ["method", "dimension", "isotropy", "pooled", "predicted", "draws"]
    return Findings(rows=rows, pictures=["inputs.png"], columns=columns)


def _check_inputs(rows: Sequence[Record]) -> Checks:
    gap = max(abs(row["pooled"] - row["predicted"]) for row in rows)
    yield at_most("inputs: pooled isotropy of A_2 minus the closed form, largest", gap, CLOSE)
    for outputs in (2, 10):
        pooled = [row["pooled"] for row in rows if row["outputs"] == outputs]
        lost = min(before - after for before, after in itertools.pairwise(pooled))
        yield above(f"inputs: {outputs} outputs: what each smaller dimension costs, least", lost, 0)


def run_of(activation: str, alpha: float, beta: float, seed: int, *, lr: float, epochs: int, compute: str) -> RunSpec:
    """Return one run of the part training, with the feedback gain of the authors' code, U(-1, 1) / sqrt(width).

    Args:
        activation: of the hidden layers.
        alpha: standard deviation of the second label.
        beta: one minus the correlation of the labels.
        seed: of the data and of the run.
        lr: learning rate.
        epochs: of the run.
        compute: where the arithmetic runs.
    """
    fields = {
        "data": f"structured(alpha={alpha:g}, beta={beta:g}, n_in={INPUTS}, samples={SAMPLES}, seed={seed})",
        "network": f"mlp(hidden=[{WIDTH}, {WIDTH}], activation={activation}, bias=False)",
        "rule": f"dfa(feedback=dense(gain={math.sqrt(2 / WIDTH):.4g}))",
    }
    training = {"optimizer": f"sgd(lr={lr:g})", "loss": "mse", "epochs": epochs, "batch_size": 100, "seed": seed}
    return RunSpec.from_json({**fields, **training, "feedback_scale": "fixed", "log": "alignment", "compute": compute})


def rise(losses: Sequence[float]) -> float:
    """Return the largest loss over the lowest before it; 1 where they only fall.

    >>> rise([4.0, 2.0, 3.0, 1.0])
    1.5
    """
    return max(loss / low for loss, low in zip(losses, itertools.accumulate(losses, min), strict=True))


def steadiest(setup: Setup, activation: str, values: Sequence[float], epochs: int) -> tuple[float, list[Record]]:
    """Return the largest learning rate at which the training loss descends steadily on all tasks of the grid.

    Beside it comes a line for each rate that was tried. A descent is steady where the loss never exceeds its lowest
    value so far by more than a factor of :data:`STEADY`.

    Args:
        setup: folder and workers.
        activation: of the hidden layers.
        values: values that alpha and beta take.
        epochs: of each run.

    Raises:
        NeurofaError: there is none.
    """
    tried: list[Record] = []
    for lr in RATES:
        task_run = partial(run_of, activation, seed=TUNING_SEED, lr=lr, epochs=epochs, compute=setup.compute)
        specs = [replace(task_run(*task), log="none") for task in itertools.product(values, values)]
        runs = run_sweep(specs, setup, title=f"training: {activation} at {lr:g}")
        # a run without a result has left the finite numbers
        rises = [rise(_losses(run)) if run.done else math.inf for run in runs]
        worst, failed = max(rises), sum(map(math.isinf, rises))
        line = {"part": "training", "method": activation, "optimizer": f"sgd(lr={lr:g})", "n": len(rises)}
        tried.append({**line, "rise": None if failed else worst, "diverged": failed})
        if worst <= STEADY:
            return lr, tried
    raise NeurofaError(
        f"got losses of {activation} that rise {worst:.3g}-fold at lr={RATES[-1]:g}; expected a steady descent;"
        " give a smaller lr"
    )


def _losses(run: SweepRow) -> list[float]:
    return [float(epoch["train_loss"]) for epoch in run.metrics]


def _measures(activation: str, alpha: float, beta: float, seed: int, run: SweepRow) -> Record:
    """Return the row of one run: alignment at its peak and in the end."""
    where = f"alpha {alpha:g}, beta {beta:g}"
    if not run.done:
        raise NeurofaError(
            f"got a failed run of training ({where}, seed {seed}: {run.error}); expected all to finish; start the"
            " experiment again"
        )
    logged = [epoch["alignment"] for epoch in run.metrics]
    # None where it is not defined: a layer without an error
    ga = [cosine for epoch in logged if (cosine := epoch["total"]["delta_cosine"]) is not None]
    wa = [float(epoch["layers"]["dense1"]["weight_alignment"]) for epoch in logged]
    row = {"part": "training", "method": f"{activation}, {where}", "activation": activation, "alpha": alpha}
    row |= {"beta": beta, "seed": seed, "ga_peak": max(ga), "ga_last": ga[-1], "wa_peak": max(wa), "wa_last": wa[-1]}
    return row | {"loss": _losses(run)[-1], "rise": rise(_losses(run))}


PEAKS = {"ga_peak": "gradient alignment at its peak", "wa_peak": "weight alignment at its peak"}


def _check_training(rows: Sequence[Record]) -> Checks:
    for activation in dict.fromkeys(row["activation"] for row in rows):
        own = [row for row in rows if row["activation"] == activation]
        worst = max(value for row in own for value in row["rise_each"])
        yield at_most(f"training: {activation}: loss over the lowest before, largest of all runs", worst, STEADY)
        for key, peak in PEAKS.items():
            yield from _check_order(f"training: {activation}", peak, own, key)


def _check_falls(rows: Sequence[Record]) -> Checks:
    for activation in dict.fromkeys(row["activation"] for row in rows):
        own = [row for row in rows if row["activation"] == activation]
        pairs = [pair for row in own for pair in zip(row["wa_peak_each"], row["wa_last_each"], strict=True)]
        fall = mean([peak - last for peak, last in pairs])
        yield above(f"training: {activation}: weight alignment falls after its peak, by", fall, 0)


def _check_order(part: str, what: str, rows: Sequence[Record], key: str) -> Checks:
    """Return whether a measure rises from the smallest to the largest alpha and beta, averaged over the other.

    Args:
        part: beginning of the checks' names.
        what: the measure in words.
        rows: one for each alpha and beta.
        key: column of the measure.
    """
    for axis in ("alpha", "beta"):
        places = sorted({row[axis] for row in rows})
        low, high = (mean([float(row[key]) for row in rows if row[axis] == at]) for at in (places[0], places[-1]))
        if len(places) > 1 and low is not None and high is not None:
            yield above(f"{part}: {what}: largest {axis} over smallest", high - low, 0)


def _map(title: str, rows: Sequence[Record], values: Sequence[float], key: str) -> Panel:
    """Return a panel with a number for every alpha and beta.

    Args:
        title: of the panel.
        rows: one for each alpha and beta.
        values: values that alpha and beta take.
        key: column of the numbers.
    """
    numbers = {(row["alpha"], row["beta"]): float(row[key]) for row in rows}
    places = sorted(values)
    ticks = {float(index): f"{place:g}" for index, place in enumerate(places)}
    image = HeatMap(values=[[numbers[a, b] for a in places] for b in places], numbers=True)
    x, y = Axis("α, deviation of the second output", ticks=ticks), Axis("β, one minus the correlation", ticks=ticks)
    return Panel(title=title, marks=[image], x=x, y=y)
