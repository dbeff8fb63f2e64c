"""How near does feedback that learns come to the Jacobian, on real data and through training?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.seeds import deviation_curves
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, StudyResult, run_study
from experiments.sweeps.tuned_curves import CurvePoint, run_curves
from experiments.tables import Record, mean, percent, standard_deviation
from hwmodels.spec import Spec

CONTROL, BP, DFA = "readout_only", "bp", "dfa"
SAID = ("dfa", "grape2025", "fdfa", "grape2026")
"""In the order of alignment that the texts suggest; alternative 2 of grape2025 is fdfa with the norms matched."""
QUANTITIES = {
    "matrix_cosine": "cos(B, mean J)",
    "row_cosine": "mean cosine of rows",
    "delivered_cosine": "cos(B e, J e), mean over samples",
    "effective_rows": "effective rows of B",
    "jacobian_norm": "norm of the mean J",
}
TANGENT, STEPS = "tangent", (0.01, 0.1, 1.0)
"""How the output's change is found: by forward-mode derivatives, or by differences of such a size."""
ALIGNED = 0.3
USEFUL = 0.01
"""Cosine of whole matrices that a reviewer of 2025 called tolerable."""


class GrAPEAlignment(Experiment, name="grape_alignment"):
    """Feedback beside the Jacobian at the end of every epoch: matrices, rows, delivered errors, share of descent steps.

    Parts: ``mlp`` (MNIST, 784-256-256-10), ``conv`` (CIFAR-10, two convolutions and a dense layer with batch
    normalisation; full feedback (o, C, H, W), and pooled feedback (o, C), whose estimate needs fewer samples),
    ``noise`` (MNIST as in mlp; fdfa whose estimates are differences of two passes, against the noise with which the
    weights are read, for several sizes of the change). Rates and steps are chosen on validation data for every rule of
    the first two parts.

    Args:
        digits: data of the part mlp.
        images: data of the part conv.
        noises: of the part noise: standard deviation of a read, in units of the root mean square weight.
        epochs: of the runs that count, instead of each part's own.
        tuning_epochs: of the runs that choose, instead of each part's own.
    """

    source = "the figures asked for in the reviews of oRPXPoTXYz (ICLR 2025) and kasbbmwk3s (ICLR 2026)"
    question = (
        "Do the feedbacks of fdfa, grape2025 and grape2026 turn towards the Jacobian, and does that train better?"
    )
    parts = ("mlp", "conv", "noise")

    def __init__(
        self, *, digits: Spec | str = "mnist", images: Spec | str = "cifar10(flip=True)",
        noises: list[float] | None = None, epochs: int | None = None, tuning_epochs: int | None = None,
    ) -> None:  # fmt: skip
        self.digits, self.images, self.epochs, self.tuning_epochs = str(digits), str(images), epochs, tuning_epochs
        self.noises = [0.0, 0.003, 0.01, 0.03, 0.1, 0.3] if noises is None else noises

    def run(self, part: str, setup: Setup) -> Findings:
        if part == "noise":
            return self._noise(setup)
        made = {"mlp": self._mlp, "conv": self._conv}[part](setup.full)
        found = run_study(made, setup, name=part)
        picture = f"{part}.png"
        draw(setup, picture, made, found)
        lines = [line | last([run.metrics for run in found.runs[line["method"]]]) for line in found.lines]
        return Findings(
            rows=lines, tuning=found.tuning, reference=REFERENCES, checks=checks(part, lines), pictures=[picture],
            columns=["method", "test_accuracy", *QUANTITIES, "descent_share", "n"],
        )  # fmt: skip

    def _mlp(self, full: bool) -> Study:
        rates = (0.03, 0.1)
        methods = {rule: [_setting(rule, f"sgd(lr={lr})") for lr in (*rates, 0.3)] for rule in (BP, DFA, CONTROL)}
        for name, rules in _aligning(window=100).items():
            methods[name] = [_setting(rule, f"sgd(lr={lr})") for rule in rules for lr in rates]
        return Study(
            common=self._digits(self.epochs or (20 if full else 5)), methods=methods,
            tuning_epochs=self.tuning_epochs or 1, control=CONTROL,
        )  # fmt: skip

    def _noise(self, setup: Setup) -> Findings:
        def setting(by: str, noise: float) -> list[Fields]:
            device = f"gaussian(write_noise=0.0, read_noise={noise:g})"
            return [{"rule": f"fdfa(alpha=0.003, {by})", "optimizer": "sgd(lr=0.1)", "device": device}]

        ways = {TANGENT: "by=tangent"} | {f"difference, step {s:g}": f"by=difference, step={s:g}" for s in STEPS}
        points = [
            CurvePoint(series=way, x=noise, candidates=setting(by, noise))
            for way, by in ways.items()
            for noise in self.noises
        ]
        common = self._digits(self.epochs or (5 if setup.full else 2))
        found = run_curves(points, common, 1, setup, name="noise")
        lines = [line | last([run.metrics for run in found.runs[line["method"]]]) for line in found.lines]
        at = {(p.series, p.x): [run.metrics for run in found.runs[p.method]] for p in points}
        least = min(noise for noise in self.noises if noise)
        x = Axis("read noise (of the root mean square weight)", scale="symlog", linear=least)
        panels = []
        for key in ("matrix_cosine", "delivered_cosine"):
            curves = {
                way: [
                    [_over_layers(at[way, noise][seed][-1]["jacobian"], key) for noise in self.noises]
                    for seed in range(setup.seeds)
                ]
                for way in ways
            }
            panels.append(Panel(title=QUANTITIES[key], x=x, marks=deviation_curves(self.noises, curves)))
        title = f"fdfa on {self.digits}, {common['epochs']} epochs, {setup.seeds} seeds"
        draw_figure(setup.folder / "noise.png", panels, title=title, share_y=True)
        return Findings(
            rows=lines, checks=_of_noise(lines), pictures=["noise.png"],
            columns=["series", "x", "test_accuracy", *QUANTITIES, "n"],
        )  # fmt: skip

    def _digits(self, epochs: int) -> Fields:
        network = "mlp(hidden=[256, 256], activation=tanh)"
        return {"data": self.digits, "batch_size": 64, "epochs": epochs, "network": network, "log": "jacobian"}

    def _conv(self, full: bool) -> Study:
        rates = (0.001, 0.003)
        methods = {
            BP: [_setting(BP, _momentum(lr)) for lr in (0.01, 0.03)],
            DFA: [_setting(DFA, _momentum(lr)) for lr in (*rates, 0.01)],
            CONTROL: [_setting(CONTROL, _momentum(lr)) for lr in (0.003, 0.01, 0.03)],
            "dfa, convolutions frozen": [
                _setting("dfa(frozen=[conv2d0, conv2d2])", _momentum(lr)) for lr in (*rates, 0.01)
            ],
        }
        # the widest layer has 16,384 units: the estimate needs as many samples
        for name, rules in _aligning(window=1000).items():
            if name in ("fdfa", "grape2025", "grape2026"):
                methods[name] = [_setting(rule, _momentum(lr)) for rule in rules[:1] for lr in rates]
        pooled = "fdfa(feedback=pooled(distribution=normal), alpha=0.01)"
        methods["fdfa, pooled"] = [_setting(pooled, _momentum(lr)) for lr in rates]
        return Study(
            common={
                "data": self.images, "batch_size": 64, "epochs": self.epochs or (20 if full else 3),
                "network": "cnn(channels=[16, 32], kernel=3, norm=batch)", "log": "jacobian", "schedule": "cosine",
            },
            methods=methods, tuning_epochs=self.tuning_epochs or 1, control=CONTROL,
        )  # fmt: skip


REFERENCES = [
    Reference("cosine of whole matrices that is tolerable", USEFUL, "a review of oRPXPoTXYz, ICLR 2025", "read"),
    Reference("largest cosine that grape2025 can reach without noise, 1/sqrt(e o), o = 10", 0.1918,
              "fixed Jacobian, independent rows", "worked out, checked numerically"),
]  # fmt: skip


def _aligning(window: int) -> dict[str, list[str]]:
    def grape(options: str) -> list[str]:
        return [f"grape2025(eta={eta}, window={window}{options})" for eta in (0.001, 0.005)]

    return {
        "fdfa": ["fdfa(alpha=0.003)", "fdfa(alpha=0.01)"],
        "grape2025": grape(""),
        "grape2025, alternative 1": grape(", alternative=1"),
        "grape2025, alternative 2": grape(", alternative=2"),
        "grape2026": [f"grape2026(eta=0.01, space=activity, window={w})" for w in (window, 1)],
    }


def _setting(rule: str, optimizer: str) -> Fields:
    return {"rule": rule, "optimizer": optimizer}


def _momentum(lr: float) -> str:
    return f"sgd(lr={lr}, momentum=0.9)"


def last(seeds: Sequence[Sequence[Record]]) -> Record:
    """Means over layers, and their mean and spread over seeds, at the end of training.

    Args:
        seeds: for every seed the rows of its epochs, with ``jacobian``.
    """
    found: Record = {}
    ends = [rows[-1]["jacobian"] for rows in seeds]
    for key in QUANTITIES:
        values = [v for v in (_over_layers(end, key) for end in ends) if v is not None]
        found |= {key: mean(values), f"{key}_std": standard_deviation(values)}
    found["descent_share"] = mean([end["descent_share"] for end in ends if end["descent_share"] is not None])
    found["layers"] = {
        name: {key: mean([e["layers"][name][key] for e in ends if e["layers"][name][key] is not None]) for key in row}
        for name, row in ends[0]["layers"].items()
    }
    return found


def _over_layers(logged: Mapping[str, Any], key: str) -> float | None:
    return mean([row[key] for row in logged["layers"].values() if row[key] is not None])


def draw(setup: Setup, picture: str, study: Study, found: StudyResult) -> None:
    """Draw accuracy and every quantity through training, means over layers."""
    methods = [m for m in found.runs if m != CONTROL]

    epochs = {m: [run.metrics for run in found.runs[m]] for m in methods}
    places = [row["epoch"] for row in epochs[methods[0]][0]]

    def panel(title: str, values: Callable[[Record], float | None]) -> Panel:
        curves = {m: [[values(row) for row in seed] for seed in epochs[m]] for m in methods}
        return Panel(title=title, x=Axis("epoch", whole=True), marks=deviation_curves(places, curves))

    panels = [panel("validation accuracy", lambda row: row["validation_accuracy"])]
    for key, title in QUANTITIES.items():
        panels.append(panel(title, lambda row, key=key: _over_layers(row["jacobian"], key)))  # type: ignore[misc]
    draw_figure(
        setup.folder / picture, panels, columns=3,
        title=f"{study.common['data']}, {study.common['network']}, {setup.seeds} seeds; means over hidden layers",
    )  # fmt: skip


def checks(part: str, lines: Sequence[Record]) -> list[ExperimentCheck]:
    """The statements of one part about its table.

    Args:
        part: one of the experiment's parts.
        lines: one a method, accuracies as shares, alignments at the end of training.
    """
    at = {line["method"]: line for line in lines}
    made = []
    order = [name for name in SAID if name in at]
    for lower, upper in itertools.pairwise(order):
        gained = _minus(at[upper]["matrix_cosine"], at[lower]["matrix_cosine"])
        made.append(above(f"{part}: cos(B, J), {upper} over {lower}", gained, 0))
    for name in at:
        if name in (BP, DFA, CONTROL):
            continue
        if at[name]["matrix_cosine"] is not None and name != "dfa, convolutions frozen":
            made.append(above(f"{part}: cos(B, J) of {name}", at[name]["matrix_cosine"], USEFUL))
        gained = _minus(at[name]["test_accuracy"], at[DFA]["test_accuracy"]) if DFA in at else None
        made.append(above(f"{part}: {name} over dfa, points of accuracy", percent(gained), 0))
    margins = {line["method"]: line["margin"] for line in lines if line["margin"] is not None}
    return made + [above(f"{part}: margin of {m} over {CONTROL}, points", percent(v), 0) for m, v in margins.items()]


def _of_noise(lines: Sequence[Record]) -> list[ExperimentCheck]:
    """The largest read noise at which differences of two passes still align the feedback, for each size of change."""
    made = []
    for way in dict.fromkeys(line["series"] for line in lines if line["series"] != TANGENT):
        aligned = [line["x"] for line in lines if line["series"] == way and (line["matrix_cosine"] or 0.0) > ALIGNED]
        made.append(
            above(f"noise: {way}: largest read noise with cos(B, J) above {ALIGNED:g}", max(aligned, default=None), 0)
        )
    return made


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
