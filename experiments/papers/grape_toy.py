"""Does feedback by the rules called GrAPE turn towards a gradient that stands still?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.charts.seeds import band_around
from experiments.diagnosis.alignments import mean_std
from experiments.sweeps.experiment import Checks, Experiment, Findings, Reference, above, at_least, at_most, cited
from experiments.sweeps.setup import Setup
from experiments.tables import Record, mean
from neurofa.core.randomness import generator
from neurofa.theory import tracking
from neurofa.theory.tracking import FeedbackTracker, tracking_cosines

Toy = Callable[..., Tensor]
"""Returns the cosines of one run, (steps + 1, 2), from its seed and settings."""
RULES = ("original", "alternative 1", "alternative 2", "2026")
STARTS = (-0.9, -0.3, 0.0, 0.3, 0.9)
"""Cosines of the part starts."""
NOISES = (0.0, 0.01, 0.1)
"""Nu in the part starts; the text gives no size."""
LONG = (300, 10)
"""Shape in the part longer."""
BOUND = tracking.original_rule_ceiling(LONG[1])
WAYS = ("rows", "matrix")
ESTIMATES = ("of one step", "mean so far")
ARMS: dict[str, list[Record]] = {
    "starts": [{"start": start, "noise": noise} for noise in NOISES for start in STARTS],
    "rules": [{"rule": r, "cosine_of": of, "noise": nu} for of in WAYS for nu in (0.0, 0.1) for r in RULES],
    "longer": [{"rule": rule, "estimate": estimate} for estimate in ESTIMATES for rule in RULES],
}
"""Settings by part."""
PANELS = {
    "starts": ("noise {noise:g}", "start {start:g}", "mean cosine of rows"),
    "rules": ("cosine of the {cosine_of}, noise {noise:g}", "{rule}", "cosine of the matrix"),
    "longer": ("estimate {estimate}", "{rule}", "cosine of the matrix"),
}
"""Titles of panels, labels of curves, and what is drawn, by part."""

BY_HAND = ("the same toy in plain torch, by hand", "measured here by hand")
REBUTTAL = ("rebuttal of submission oRPXPoTXYz to ICLR 2025, Fig. 5", "read in the rebuttal; not reproduced")
RULES_BY_HAND = {"original": 0.021, "alternative 1": 0.427, "alternative 2": 0.995}
LONGER_BY_HAND = {"alternative 1, mean so far": 0.45, "alternative 1, of one step": 0.29}
LONGER_BY_HAND |= {"alternative 2, mean so far": 0.91, "alternative 2, of one step": 0.84}
LONGER_BY_HAND |= {"2026, mean so far": 0.97, "2026, of one step": 0.97}
WEIGHTED = "weights exp(S c_i), c_i ~ N(0, 1/o)"
REFERENCES = {
    "starts": [],
    "rules": [
        *cited(RULES_BY_HAND, *BY_HAND, quantity="cosine of rows, noise 0: matrix cosine"),
        Reference("alternative 2: cosine after 50 steps", 0.0, *REBUTTAL),
    ],
    "longer": [
        *cited(LONGER_BY_HAND, *BY_HAND, quantity="matrix cosine"),
        Reference("original: ceiling 1/sqrt(e o)", 1 / math.sqrt(LONG[1] * math.e), WEIGHTED, "derived"),
    ],
}


@dataclass(frozen=True, kw_only=True)
class GrAPEToy(Experiment, name="grape_toy"):
    """Feedback B that follows a fixed gradient g, by the update functions of the rules themselves.

    Parts: ``starts`` (Fig. 4 of the 2025 text: 4 x 4, every row of B at the same cosine with g, original rule, eta
    0.1), ``rules`` (Fig. 5: 200 x 200, 50 steps, eta = 0.1 x 0.99^t, all rules, with and without noise, cosines of rows
    and of the matrix), ``longer`` (300 x 10, 1000 steps, eta = 0.01, g estimated from 64 rank-one terms a step, and
    the mean of the estimates so far). Cosines are those with the true g: the mean over rows, and that of the whole
    matrix (Frobenius). The noise has standard deviation nu |B|_F/sqrt(n o) and comes before the rescaling of the whole
    matrix; size and kind are our reading. Checks that say ``as reported`` hold where the text's claim comes out.
    """

    source = "submission oRPXPoTXYz to ICLR 2025 with its rebuttal; kasbbmwk3s (ICLR 2026) for the rule of 2026"
    differs = "kind and size of the noise, and the rescaling of the whole matrix, are our reading of the text"
    question = "Which updates called GrAPE turn B to a fixed gradient, and do the toys of 2025 come out as reported?"
    parts = ("starts", "rules", "longer")

    rows: int = 200
    """Rows of B in the part rules."""
    columns: int = 200
    """Columns of B in the part rules."""
    steps: int = 500
    """Steps of the part starts; the text does not give them."""
    long_steps: int = 1000
    """Steps of the part longer."""

    def run(self, part: str, setup: Setup) -> Findings:
        toys: dict[str, Toy] = {"starts": self._start, "rules": self._rule, "longer": self._long}
        seeds = {"starts": 10 * setup.seeds, "rules": 10, "longer": setup.seeds}[part]
        panel_title, label, drawn = PANELS[part]
        y = Axis(drawn, limits=(-1.05, 1.05) if part == "starts" else (-0.35, 1.05))
        panels: dict[str, Panel] = {}
        rows = []
        for arm in ARMS[part]:
            tracks = torch.stack([toys[part](seed, **arm) for seed in range(seeds)])
            rows.append({"part": part, **arm, **_summary(tracks)})
            name = panel_title.format(**arm)
            panel = panels.setdefault(name, Panel(title=name, x=Axis("steps", whole=True), y=y))
            panel.marks.append(_curve(label.format(**arm), tracks[:, :, 0 if part == "starts" else 1]))
        size = {"starts": "4 x 4", "rules": f"{self.rows} x {self.columns}", "longer": f"{LONG[0]} x {LONG[1]}"}[part]
        title = f"{part}: {size}, {seeds} seeds; bands: standard deviation"
        across = 3 if part == "starts" else 2
        draw_figure(setup.folder / f"{part}.png", list(panels.values()), columns=across, title=title)
        columns = [key for key in rows[0] if key != "part" and not key.endswith("_std")]
        return Findings(rows=rows, columns=columns, reference=REFERENCES[part], pictures=[f"{part}.png"])

    def _start(self, seed: int, start: float, noise: float) -> Tensor:
        gen = generator(seed, "starts")
        g = torch.randn(4, 4, generator=gen, dtype=torch.float64)
        toy = FeedbackTracker(rule="original", eta=0.1, noise=noise)
        begin = tracking.rows_at_cosine(g, start, gen)
        return tracking_cosines(toy.track(begin, itertools.repeat(g, self.steps), gen), g)

    def _rule(self, seed: int, rule: str, cosine_of: str, noise: float) -> Tensor:
        gen = generator(seed, "rules")
        g, b = torch.randn(2, self.rows, self.columns, generator=gen, dtype=torch.float64)
        toy = FeedbackTracker(rule=rule, eta=0.1, decay=0.99, noise=noise, scalar=cosine_of == "matrix")
        return tracking_cosines(toy.track(b, itertools.repeat(g, 50), gen), g)

    def _long(self, seed: int, rule: str, estimate: str) -> Tensor:
        gen = generator(seed, "longer")
        g, b = torch.randn(2, *LONG, generator=gen, dtype=torch.float64)
        estimates = tracking.gradient_estimates(g, gen, averaged=estimate == "mean so far")
        toy = FeedbackTracker(rule=rule, eta=0.01)
        return tracking_cosines(toy.track(b, itertools.islice(estimates, self.long_steps), gen), g)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        return {"starts": _check_starts, "rules": _check_rules, "longer": _check_longer}[part](rows)


def _summary(tracks: Tensor) -> Record:
    """Return the columns of one arm.

    Args:
        tracks: (seeds, steps + 1, 2), cosines of the rows (mean) and of the matrix.
    """
    cosines = mean_std("row_cosine", tracks[:, -1, 0].tolist()) | mean_std("matrix_cosine", tracks[:, -1, 1].tolist())
    return cosines | {"highest_matrix_cosine": mean(tracks[:, :, 1].amax(1).tolist()), "n": len(tracks)}


def _curve(label: str, tracks: Tensor) -> Curve:
    centre = tracks.mean(0).tolist()
    band = band_around(centre, tracks.std(0).tolist()) if len(tracks) > 1 else None
    return Curve(x=range(tracks.shape[1]), y=centre, label=label, band=band)


def _check_starts(rows: Sequence[Record]) -> Checks:
    end = {(row["start"], row["noise"]): row["row_cosine"] for row in rows}
    moved = max(abs(end[start, 0.0] - start) for start in STARTS)
    yield at_most("starts: without noise no row turns: largest change of a mean row cosine", moved, 1e-6)
    yield above("starts: as reported: with noise a start at 0 rises", end[0.0, NOISES[1]], 0.1)
    for noise in NOISES:
        ahead = min(end[-x, noise] - end[x, noise] for x in (0.3, 0.9))
        yield above(f"starts: as reported: negative starts end above positive ones, noise {noise:g}", ahead, 0)


def _check_rules(rows: Sequence[Record]) -> Checks:
    end = {(row["rule"], row["cosine_of"], row["noise"]): row for row in rows}
    for of, noise in itertools.product(WAYS, (0.0, 0.1)):
        first, second, last = (end[rule, of, noise]["matrix_cosine"] for rule in RULES[:3])
        where = f"cosine of the {of}, noise {noise:g}"
        behind = f"rules: as reported: original only marginally behind alternative 1, {where}"
        yield at_most(behind, second - first, 0.1)
        yield at_most(f"rules: as reported: alternative 2 ends at 0, {where}", abs(last), 0.1)
        yield at_least(f"rules: alternative 2 is a running mean and arrives, {where}", last, 0.9)
    turned = abs(end["original", "rows", 0.0]["row_cosine"])
    yield at_most("rules: original without noise turns no row: mean row cosine", turned, 0.02)


def _check_longer(rows: Sequence[Record]) -> Checks:
    cosine = {(row["rule"], row["estimate"]): row["matrix_cosine"] for row in rows}
    best = max(row["highest_matrix_cosine"] for row in rows if row["rule"] == "original")
    yield at_most("longer: original stays below 1.2/sqrt(e o)", best, 1.2 * BOUND)
    yield at_least("longer: original comes to 0.8/sqrt(e o)", best, 0.8 * BOUND)
    for rule in ("alternative 2", "2026"):
        yield at_least(f"longer: {rule}, mean so far", cosine[rule, "mean so far"], 0.85)
