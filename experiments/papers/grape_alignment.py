"""How near does feedback that learns come to the Jacobian, on real data and through training?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.seeds import deviation_curves
from experiments.diagnosis.alignments import mean_std
from experiments.protocols.curves import curve
from experiments.protocols.tables import Methods, mean_known, minus
from experiments.sweeps.candidates import MOMENTUM, rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, Reference, above, margin_checks
from experiments.sweeps.rows import SweepRow
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields, Study, StudyResult, run_study
from experiments.sweeps.tuned_curves import run_curves
from experiments.tables import Record, percent
from hwmodels.spec import Spec

BP, DFA, FROZEN, FDFA = "bp", "dfa", "dfa, convolutions frozen", "fdfa"
EXPECTED = (DFA, "grape2025", FDFA, "grape2026")
"""In the order of alignment that the texts suggest; alternative 2 of grape2025 is fdfa with the norms matched."""
QUANTITIES = {
    "matrix_cosine": "cos(B, mean J)",
    "row_cosine": "mean cosine of rows",
    "delivered_cosine": "cos(B e, J e), mean over samples",
    "effective_rows": "effective rows of B",
    "jacobian_norm": "norm of the mean J",
}
TANGENT = "tangent"
WAYS = {TANGENT: "by=tangent"} | {f"difference, step {s:g}": f"by=difference, step={s:g}" for s in (0.01, 0.1, 1.0)}
"""How the output's change is found: by forward-mode derivatives, or by differences of such a size."""
ALIGNED = 0.3
USEFUL = 0.01
"""Cosine of whole matrices that a reviewer of 2025 called tolerable."""
LARGEST = "largest cosine that grape2025 can reach without noise, 1/sqrt(e o), o = 10"
REFERENCES = [
    Reference("cosine of whole matrices that is tolerable", USEFUL, "a review of oRPXPoTXYz, ICLR 2025", "read"),
    Reference(LARGEST, 0.1918, "fixed Jacobian, independent rows", "worked out, checked numerically"),
]


@dataclass(frozen=True, kw_only=True)
class GrAPEAlignment(Experiment, name="grape_alignment"):
    """Feedback beside the Jacobian at the end of every epoch: matrices, rows, delivered errors, share of descent steps.

    Parts: ``mlp`` (MNIST, 784-256-256-10), ``conv`` (CIFAR-10, two convolutions and a dense layer with batch
    normalisation; full feedback (o, C, H, W), and pooled feedback (o, C), whose estimate needs fewer samples),
    ``noise`` (MNIST as in mlp; fdfa whose estimates are differences of two passes, against the noise with which the
    weights are read, for several sizes of the change). Rates and steps are chosen on validation data for every rule of
    the first two parts.
    """

    source = "the figures asked for in the reviews of oRPXPoTXYz (ICLR 2025) and kasbbmwk3s (ICLR 2026)"
    differs = "the reviews ask for figures without a protocol: networks, data and epochs are ours"
    question = "Do the feedbacks of fdfa, grape2025 and grape2026 turn to the Jacobian, and does that train better?"
    parts = ("mlp", "conv", "noise")

    digits: Spec | str = "mnist"
    """Data of the parts mlp and noise."""
    images: Spec | str = "cifar10(flip=True)"
    """Data of the part conv."""
    noises: tuple[float, ...] = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
    """Read noise of the part noise: standard deviation, in units of the root mean square weight."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of each part's own."""
    tuning_epochs: int = 1
    """Epochs of the runs that choose."""

    def run(self, part: str, setup: Setup) -> Findings:
        epochs = self.epochs or {"mlp": (5, 20), "conv": (3, 20), "noise": (2, 5)}[part][setup.full]
        common = {"data": str(self.digits), "batch_size": 64, "epochs": epochs, "log": "jacobian"}
        common |= {"network": "mlp(hidden=[256, 256], activation=tanh)"}
        if part == "noise":
            return self._noise(common, setup)
        if part == "conv":
            common |= {"data": str(self.images), "network": "cnn(channels=[16, 32], kernel=3, norm=batch)"}
            common |= {"schedule": "cosine"}
        methods = _mlp_methods() if part == "mlp" else _conv_methods()
        study = Study(common=common, methods=methods, tuning_epochs=self.tuning_epochs)
        outcome = run_study(study, setup, name=part)
        _draw(setup, part, common, outcome)
        rows = [row | ends(outcome.runs[row["method"]]) for row in outcome.lines]
        columns = ["method", "test_accuracy", *QUANTITIES, "descent_share", "n"]
        pictures = [f"{part}.png"]
        return Findings(rows=rows, tuning=outcome.tuning, reference=REFERENCES, pictures=pictures, columns=columns)

    def _noise(self, common: Fields, setup: Setup) -> Findings:
        def noisy(by: str) -> Callable[[float], list[Fields]]:
            device = "gaussian(write_noise=0.0, read_noise={:g})"
            return lambda noise: rate_grid(f"fdfa(alpha=0.003, {by})", (0.1,), device=device.format(noise))

        points = [point for way, by in WAYS.items() for point in curve(way, self.noises, noisy(by))]
        outcome = run_curves(points, common, 1, setup, name="noise")
        least = min(noise for noise in self.noises if noise)
        x = Axis("read noise (of the root mean square weight)", scale="symlog", linear=least)
        panels = []
        for key in ("matrix_cosine", "delivered_cosine"):
            curves = {}
            for way in WAYS:
                seeds = zip(*[outcome.runs[point.method] for point in points if point.series == way], strict=True)
                curves[way] = [[_over_layers(run.metrics[-1]["jacobian"], key) for run in runs] for runs in seeds]
            panels.append(Panel(title=QUANTITIES[key], x=x, marks=deviation_curves(self.noises, curves)))
        title = f"fdfa on {common['data']}, {common['epochs']} epochs, {setup.seeds} seeds"
        draw_figure(setup.folder / "noise.png", panels, title=title, share_y=True)
        rows = [row | ends(outcome.runs[row["method"]]) for row in outcome.lines]
        return Findings(rows=rows, pictures=["noise.png"], columns=["series", "x", "test_accuracy", *QUANTITIES, "n"])

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        return _check_noise(rows) if part == "noise" else _check_alignment(part, rows)


def _check_alignment(part: str, rows: Sequence[Record]) -> Checks:
    by = {row["method"]: row for row in rows}
    for lower, upper in itertools.pairwise(name for name in EXPECTED if name in by):
        gained = minus(by[upper]["matrix_cosine"], by[lower]["matrix_cosine"])
        yield above(f"{part}: cos(B, J), {upper} over {lower}", gained, 0)
    for name, row in by.items():
        if name in (BP, DFA, CONTROL):
            continue
        if row["matrix_cosine"] is not None and name != FROZEN:
            yield above(f"{part}: cos(B, J) of {name}", row["matrix_cosine"], USEFUL)
        gained = minus(row["test_accuracy"], by[DFA]["test_accuracy"]) if DFA in by else None
        yield above(f"{part}: {name} over dfa, points of accuracy", percent(gained), 0)
    yield from margin_checks(part, rows, CONTROL)


def _learning_rules(window: int) -> dict[str, list[str]]:
    """Return rules whose feedback learns, with the options that validation data choose from.

    Args:
        window: steps of the running mean of an estimate.
    """
    grape = [f"grape2025(eta={eta}, window={window}" for eta in (0.001, 0.005)]
    return {
        FDFA: ["fdfa(alpha=0.003)", "fdfa(alpha=0.01)"],
        "grape2025": [f"{rule})" for rule in grape],
        "grape2025, alternative 1": [f"{rule}, alternative=1)" for rule in grape],
        "grape2025, alternative 2": [f"{rule}, alternative=2)" for rule in grape],
        "grape2026": [f"grape2026(eta=0.01, space=activity, window={w})" for w in (window, 1)],
    }


def _mlp_methods() -> Methods:
    methods = {rule: rate_grid(rule, (0.03, 0.1, 0.3)) for rule in (BP, DFA, CONTROL)}
    for name, rules in _learning_rules(window=100).items():
        methods[name] = [setting for rule in rules for setting in rate_grid(rule, (0.03, 0.1))]
    return methods


def _conv_methods() -> Methods:
    # the widest layer has 16,384 units: the estimate needs as many samples
    learning = _learning_rules(window=1000)
    rules = {name: learning[name][0] for name in (FDFA, "grape2025", "grape2026")}
    rules["fdfa, pooled"] = "fdfa(feedback=pooled(distribution=normal), alpha=0.01)"
    return {
        BP: rate_grid(BP, (0.01, 0.03), MOMENTUM),
        DFA: rate_grid(DFA, (0.001, 0.003, 0.01), MOMENTUM),
        CONTROL: rate_grid(CONTROL, (0.003, 0.01, 0.03), MOMENTUM),
        FROZEN: rate_grid("dfa(frozen=[conv2d0, conv2d2])", (0.001, 0.003, 0.01), MOMENTUM),
        **{name: rate_grid(rule, (0.001, 0.003), MOMENTUM) for name, rule in rules.items()},
    }


def ends(runs: Sequence[SweepRow]) -> Record:
    """Return the alignment of the feedback with the Jacobian at the end of training, as columns of a row.

    Args:
        runs: one a seed, which logged the Jacobian.

    Returns:
        For every key of :data:`QUANTITIES` the mean over hidden layers: its mean over seeds and, with ``_std``, its
        standard deviation; ``descent_share``, the share of steps that lower the loss; and ``layers``, the means over
        seeds of each layer.
    """
    logged = [run.metrics[-1]["jacobian"] for run in runs]
    columns: Record = {}
    for key in QUANTITIES:
        columns |= mean_std(key, [_over_layers(end, key) for end in logged])
    columns["descent_share"] = mean_known(end["descent_share"] for end in logged)
    columns["layers"] = {
        name: {key: mean_known(end["layers"][name][key] for end in logged) for key in layer}
        for name, layer in logged[0]["layers"].items()
    }
    return columns


def _over_layers(logged: Mapping[str, Any], key: str) -> float | None:
    return mean_known(layer[key] for layer in logged["layers"].values())


def _draw(setup: Setup, part: str, common: Fields, outcome: StudyResult) -> None:
    """Draw validation accuracy and every quantity through training, means over layers."""
    trained = {method: runs for method, runs in outcome.runs.items() if method != CONTROL}
    epochs = [row["epoch"] for row in outcome.runs[CONTROL][0].metrics]
    panels = []
    for key, title in {"validation_accuracy": "validation accuracy", **QUANTITIES}.items():
        curves = {name: [[_value(row, key) for row in run.metrics] for run in runs] for name, runs in trained.items()}
        panels.append(Panel(title=title, x=Axis("epoch", whole=True), marks=deviation_curves(epochs, curves)))
    title = f"{common['data']}, {common['network']}, {setup.seeds} seeds; means over hidden layers"
    draw_figure(setup.folder / f"{part}.png", panels, columns=3, title=title)


def _value(row: Record, key: str) -> float | None:
    """Return a quantity at the end of one epoch."""
    return row[key] if key in row else _over_layers(row["jacobian"], key)


def _check_noise(rows: Sequence[Record]) -> Checks:
    """Yield the largest read noise at which differences of two passes still align the feedback, for each step."""
    for way in [way for way in WAYS if way != TANGENT]:
        aligned = [row["x"] for row in rows if row["series"] == way and (row["matrix_cosine"] or 0.0) > ALIGNED]
        what = f"noise: {way}: largest read noise with cos(B, J) above {ALIGNED:g}"
        yield above(what, max(aligned, default=None), 0)
