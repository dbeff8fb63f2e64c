"""Does feedback by the rules called GrAPE turn towards a gradient that stands still?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.charts.seeds import band_around
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above, at_least, at_most
from experiments.sweeps.setup import Setup
from experiments.tables import Record, mean, standard_deviation
from neurofa.core.randomness import generator

if TYPE_CHECKING:
    from torch import Tensor

COLOURS = {"original": "tab:blue", "alternative 1": "tab:orange", "alternative 2": "tab:green", "2026": "tab:purple"}
"""Of the rules."""
STARTS = {-0.9: "tab:blue", -0.3: "tab:cyan", 0.0: "0.3", 0.3: "tab:orange", 0.9: "tab:red"}
"""Cosines of the part starts, with their colours."""
NOISES = (0.0, 0.01, 0.1)
"""Nu in the part starts; the text gives no size."""
STEPS = Axis("steps", whole=True)
LONG = (300, 10)
"""Shape in the part longer."""

BY_HAND = "the same toy in plain torch, by hand"
REBUTTAL = "rebuttal of submission oRPXPoTXYz to ICLR 2025, Fig. 5"

REFERENCES: Mapping[str, list[Reference]] = {
    "starts": [],
    "rules": [
        Reference(f"{rule}, cosine of rows, noise 0: matrix cosine", value, BY_HAND, "measured here by hand")
        for rule, value in {"original": 0.021, "alternative 1": 0.427, "alternative 2": 0.995}.items()
    ]
    + [Reference("alternative 2: cosine after 50 steps", 0.0, REBUTTAL, "read in the rebuttal; not reproduced")],
    "longer": [
        Reference(f"{rule}: matrix cosine, estimate {of}", value, BY_HAND, "measured here by hand")
        for rule, of, value in (
            ("alternative 1", "mean so far", 0.45), ("alternative 1", "of one step", 0.29),
            ("alternative 2", "mean so far", 0.91), ("alternative 2", "of one step", 0.84),
            ("2026", "mean so far", 0.97), ("2026", "of one step", 0.97),
        )
    ]
    + [Reference("original: ceiling 1/sqrt(e o)", 1 / math.sqrt(10 * math.e), "weights exp(S c_i), c_i ~ N(0, 1/o)",
                 "derived")],
}  # fmt: skip


class GrAPEToy(Experiment, name="grape_toy"):
    """Feedback B that follows a fixed gradient g, by the update functions of the rules themselves.

    Parts: ``starts`` (Fig. 4 of the 2025 text: 4 x 4, every row of B at the same cosine with g, original rule, eta
    0.1), ``rules`` (Fig. 5: 200 x 200, 50 steps, eta = 0.1 x 0.99^t, all rules, with and without noise, cosines of rows
    and of the matrix), ``longer`` (300 x 10, 1000 steps, eta = 0.01, g estimated from 64 rank-one terms a step, and
    the mean of the estimates so far). Cosines are those with the true g: the mean over rows, and that of the whole
    matrix (Frobenius). The noise has standard deviation nu |B|_F/sqrt(n o) and comes before the rescaling of the whole
    matrix; size and kind are our reading. Checks that say ``as reported`` hold where the text's claim comes out.

    Args:
        rows: of the part rules.
        columns: of the part rules.
        steps: of the part starts; the text does not give them.
        long_steps: of the part longer.
    """

    source = "submission oRPXPoTXYz to ICLR 2025 with its rebuttal; kasbbmwk3s (ICLR 2026) for the rule of 2026"
    question = (
        "Which of the feedback updates called GrAPE turn B towards a gradient that stands still, how far, and do"
        " the toys of the 2025 text come out as reported?"
    )
    parts = ("starts", "rules", "longer")

    def __init__(self, *, rows: int = 200, columns: int = 200, steps: int = 500, long_steps: int = 1000) -> None:
        self.rows, self.columns, self.steps, self.long_steps = rows, columns, steps, long_steps

    def run(self, part: str, setup: Setup) -> Findings:
        made = {"starts": self._starts, "rules": self._rules, "longer": self._longer}[part](setup)
        rows = [{"part": part, **line.labels, **line.summary()} for line in made]
        columns = [key for key in rows[0] if key != "part" and not key.endswith("_std")]
        title, of = {
            "starts": ("4 x 4, original rule, eta 0.1", "mean cosine of rows"),
            "rules": (f"{self.rows} x {self.columns}, eta 0.1 x 0.99^t", "cosine of the matrix"),
            "longer": (f"{LONG[0]} x {LONG[1]}, eta 0.01", "cosine of the matrix"),
        }[part]
        panels: dict[str, Panel] = {}
        y = Axis(of, limits=(-1.05, 1.05) if part == "starts" else (-0.35, 1.05))
        for line in made:
            panels.setdefault(line.panel, Panel(title=line.panel, x=STEPS, y=y)).marks.append(line.curve())
        draw_figure(
            setup.folder / f"{part}.png", list(panels.values()), columns=3 if part == "starts" else 2,
            title=f"{part}: {title}, {len(made[0].tracks)} seeds; bands: standard deviation",
        )  # fmt: skip
        return Findings(
            rows=rows, columns=columns, reference=REFERENCES[part], checks=checks(part, rows), pictures=[f"{part}.png"]
        )

    def _starts(self, setup: Setup) -> list[_Line]:
        import torch

        from neurofa.theory.tracking import FeedbackTracker, rows_at_cosine, tracking_cosines

        made = []
        for noise in NOISES:
            for start, colour in STARTS.items():
                tracks = []
                for seed in range(10 * setup.seeds):
                    gen = generator(seed, "starts")
                    g = torch.randn(4, 4, generator=gen, dtype=torch.float64)
                    toy = FeedbackTracker(rule="original", eta=0.1, noise=noise)
                    begin = rows_at_cosine(g, start, gen)
                    tracks.append(tracking_cosines(toy.track(begin, itertools.repeat(g, self.steps), gen), g))
                labels = {"start": start, "noise": noise}
                made.append(_Line(labels, f"noise {noise:g}", f"start {start:g}", colour, tracks, 0))
        return made

    def _rules(self, setup: Setup) -> list[_Line]:
        import torch

        from neurofa.theory.tracking import FeedbackTracker, tracking_cosines

        made = []
        for of, noise in itertools.product(("rows", "matrix"), (0.0, 0.1)):
            for rule, colour in COLOURS.items():
                tracks = []
                for seed in range(10):
                    gen = generator(seed, "rules")
                    g, b = torch.randn(2, self.rows, self.columns, generator=gen, dtype=torch.float64)
                    toy = FeedbackTracker(rule=rule, eta=0.1, decay=0.99, noise=noise, scalar=of == "matrix")
                    tracks.append(tracking_cosines(toy.track(b, itertools.repeat(g, 50), gen), g))
                labels = {"rule": rule, "cosine_of": of, "noise": noise}
                made.append(_Line(labels, f"cosine of the {of}, noise {noise:g}", rule, colour, tracks, 1))
        return made

    def _longer(self, setup: Setup) -> list[_Line]:
        import torch

        from neurofa.theory.tracking import FeedbackTracker, gradient_estimates, tracking_cosines

        made = []
        for averaged in (False, True):
            for rule, colour in COLOURS.items():
                tracks = []
                for seed in range(setup.seeds):
                    gen = generator(seed, "longer")
                    g, b = torch.randn(2, *LONG, generator=gen, dtype=torch.float64)
                    seen = itertools.islice(gradient_estimates(g, gen, averaged=averaged), self.long_steps)
                    tracks.append(tracking_cosines(FeedbackTracker(rule=rule, eta=0.01).track(b, seen, gen), g))
                estimate = "mean so far" if averaged else "of one step"
                labels = {"rule": rule, "estimate": estimate}
                made.append(_Line(labels, f"estimate {estimate}", rule, colour, tracks, 1))
        return made


@dataclass(frozen=True)
class _Line:
    """One setting on some seeds."""

    labels: Record
    panel: str
    label: str
    colour: str
    tracks: list[Tensor]
    """A seed each: (steps + 1, 2), cosine of the rows (mean) and of the matrix."""
    drawn: int
    """Which of the two is in the picture."""

    def summary(self) -> Record:
        made: Record = {}
        for key, index in (("row_cosine", 0), ("matrix_cosine", 1)):
            last = [float(one[-1, index]) for one in self.tracks]
            made |= {key: mean(last), f"{key}_std": standard_deviation(last)}
        made["highest_matrix_cosine"] = mean([float(one[:, 1].max()) for one in self.tracks])
        return made | {"n": len(self.tracks)}

    def curve(self) -> Curve:
        import torch

        drawn = torch.stack(self.tracks)[:, :, self.drawn]
        centre = drawn.mean(0).tolist()
        band = band_around(centre, drawn.std(0).tolist()) if len(drawn) > 1 else None
        return Curve(x=range(drawn.shape[1]), y=centre, label=self.label, colour=self.colour, band=band)


def checks(part: str, rows: Sequence[Record]) -> list[ExperimentCheck]:
    """The statements of one part about its table; those of the 2025 text are named as such.

    Args:
        part: one of the experiment's parts.
        rows: one a setting.
    """
    return {"starts": _of_starts, "rules": _of_rules, "longer": _of_longer}[part](rows)


def _of_starts(rows: Sequence[Record]) -> list[ExperimentCheck]:
    end = {(row["start"], row["noise"]): row["row_cosine"] for row in rows}
    moved = max(abs(end[start, 0.0] - start) for start in STARTS)
    made = [
        at_most("starts: without noise no row turns: largest change of a mean row cosine", moved, 1e-6),
        above("starts: as reported: with noise a start at 0 rises", end[0.0, NOISES[1]], 0.1),
    ]
    for noise in NOISES:
        ahead = min(end[-x, noise] - end[x, noise] for x in (0.3, 0.9))
        made.append(above(f"starts: as reported: negative starts end above positive ones, noise {noise:g}", ahead, 0))
    return made


def _of_rules(rows: Sequence[Record]) -> list[ExperimentCheck]:
    end = {(row["rule"], row["cosine_of"], row["noise"]): row for row in rows}
    made = []
    for of, noise in itertools.product(("rows", "matrix"), (0.0, 0.1)):
        first, second = end["original", of, noise], end["alternative 1", of, noise]
        last, where = end["alternative 2", of, noise], f"cosine of the {of}, noise {noise:g}"
        behind = second["matrix_cosine"] - first["matrix_cosine"]
        made += [
            at_most(f"rules: as reported: original only marginally behind alternative 1, {where}", behind, 0.1),
            at_most(f"rules: as reported: alternative 2 ends at 0, {where}", abs(last["matrix_cosine"]), 0.1),
            at_least(f"rules: alternative 2 is a running mean and arrives, {where}", last["matrix_cosine"], 0.9),
        ]
    turned = abs(end["original", "rows", 0.0]["row_cosine"])
    made.append(at_most("rules: original without noise turns no row: mean row cosine", turned, 0.02))
    return made


def _of_longer(rows: Sequence[Record]) -> list[ExperimentCheck]:
    end = {(row["rule"], row["estimate"]): row for row in rows}
    from neurofa.theory.tracking import original_rule_ceiling

    best = max(row["highest_matrix_cosine"] for row in rows if row["rule"] == "original")
    made = [
        at_most("longer: original stays below 1.2/sqrt(e o)", best, 1.2 * original_rule_ceiling(LONG[1])),
        at_least("longer: original comes to 0.8/sqrt(e o)", best, 0.8 * original_rule_ceiling(LONG[1])),
    ]
    learnt = {rule: end[rule, "mean so far"]["matrix_cosine"] for rule in ("alternative 2", "2026")}
    return made + [at_least(f"longer: {rule}, mean so far", cos, 0.85) for rule, cos in learnt.items()]
