"""Degeneracy breaking: which of all students without error does the feedback select, and when is there none?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.protocols import shallow
from experiments.protocols.shallow import KINDS, TWO
from experiments.sweeps.experiment import Checks, Experiment, Findings, at_least, at_most, cited
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.degeneracy import success_probability

RATE = 0.1
WIDTHS = {1: (1, 2, 3, 4, 5, 6), 2: (2, 3, 4, 5, 6, 8)}
"""Hidden units K of the student by those of the teacher, M."""
CONVERGED = 1e-4
"""Generalisation error below which an erf student has learnt all; its plateau lies two orders above."""
LEARNT = 1e-2
"""Generalisation error, a unit of the teacher, below which a rectified student has learnt."""
FAMILY = 0.05
"""Chance that some cell of a table misses a true formula (Bonferroni: this over the cells is the bound of each)."""
FORMULA = ("2^-K sum_{k>=M} C(K, k)", "derived; the criterion as in the authors' code")
SIGNS_COLUMNS = ["case", "n", "converged", "agree", "smallest_unconverged"]
RELU_COLUMNS = ["case", "n", "learnt", "formula", "p_value", "positive", "predicted", "highest_learnt", "lowest_failed"]


@dataclass(frozen=True, kw_only=True)
class AlignDegeneracy(Experiment, name="align_degeneracy"):
    """Signs of the feedback decide which solution a shallow student takes, and whether rectified units find one.

    Parts: ``signs`` (erf units: the signs of v follow those of F in every student that converged; under bp, from the
    same starts, they need not), ``relu`` (share of rectified students that learn, against the probability that the
    feedback has M positive entries).

    Raises:
        NeurofaError: a size below 1.
    """

    source = "Refinetti et al. 2021, arXiv 2011.12428 (abstract and code read; formula derived)"
    differs = "numbers of students, starts and times are ours; the probability of enough positive signs is derived here"
    question = "Do output weights take the signs of the feedback, and do rectified units learn where enough are right?"
    parts = ("signs", "relu")

    runs: int = 100
    """Students of a point of the part relu (full: five times as many)."""
    solved: int = 100
    """Students of the part signs that are solved, of each kind (full: three times as many)."""
    simulated: int = 50
    """Students of the part signs that are simulated (full: four times as many)."""
    inputs: int = 50
    """N of simulated students."""
    horizon: float = 20_000.0
    """Last time of solved students, steps / N."""
    until: float | None = None
    """Last time of simulated students, steps / N, instead of 1000 in the part relu and 2500 in the part signs."""
    feedback: Literal["signs", "normal"] = "signs"
    """Feedback of the part relu: +1 or -1, or from N(0, 1): a unit with a small entry is slow, and may not be ready."""
    widths: tuple[int, ...] = ()
    """K of the part relu, for every M that is not larger; none: 1 to 6 for M = 1, 2 to 8 for M = 2."""

    def __post_init__(self) -> None:
        sizes = (self.runs, self.solved, self.simulated, self.inputs, *self.widths)
        if min(sizes) < 1 or self.horizon <= 0 or (self.until is not None and self.until <= 0):
            got = f"runs={self.runs}, solved={self.solved}, simulated={self.simulated}, inputs={self.inputs}"
            raise NeurofaError(f"got align_degeneracy({got}); expected sizes >= 1 and times > 0; raise them")

    def run(self, part: str, setup: Setup) -> Findings:
        return self._signs(setup) if part == "signs" else self._relu(setup)

    def _signs(self, setup: Setup) -> Findings:
        students: Record = {"inputs": 500, **TWO, "sd": 0.1, "times": [1.0, self.horizon], "stop": CONVERGED / 2}
        count = self.solved * (3 if setup.full else 1)
        rows = []
        kinds = [("dfa", kind) for kind in KINDS] + [("bp", "F from N(0, 1)")]
        for rule, kind in kinds:
            problem = {"problem": {"rate": RATE, "rule": rule}, "feedback": KINDS[kind]}
            lines = shallow.solve_students(setup, "signs, solved", count, 10, **problem, **students)
            ends = [(line["error"][-1] < CONVERGED, line["agree"], line["F"]) for line in lines]
            rows.append(_signs_row(f"solved, {rule}, {kind}", ends))
        cell: Record = {"problem": {"rate": RATE}, "seed": 0, "runs": self.simulated * (4 if setup.full else 1), **TWO}
        cell |= {"sd": 0.1, "inputs": self.inputs, "times": [self.until or 2500.0], "feedback": "signs"}
        (answer,) = shallow.run_students(shallow.simulated_runs, [cell], setup, name="signs, simulated")
        # a finite student fluctuates at the end, but not up to a plateau
        converged = [error < 10 * CONVERGED for error in answer["error"][-1]]
        ends = list(zip(converged, answer["agree"], answer["F"], strict=True))
        return Findings(rows=[*rows, _signs_row("simulated, dfa, |F| = 1", ends)], columns=SIGNS_COLUMNS)

    def _relu(self, setup: Setup) -> Findings:
        runs, until = self.runs * (5 if setup.full else 1), self.until or 1000.0
        students: Record = {"problem": {"rate": RATE, "activation": "relu"}, "runs": runs, "inputs": self.inputs}
        students |= {"sd": 1e-3, "times": [until / 2, until], "feedback": self.feedback}
        places = [(M, K) for M, widths in WIDTHS.items() for K in (self.widths or widths) if K >= M]
        cells = [{**students, "seed": 10 * K + M, "hidden": K, "teacher": M} for M, K in places]
        answers = shallow.run_students(shallow.simulated_runs, cells, setup, name="relu")
        rows = [relu_row(*place, answer) for place, answer in zip(places, answers, strict=True)]
        panels = [_relu_panel([row for row in rows if row["M"] == M]) for M in dict.fromkeys(M for M, _ in places)]
        title = f"Rectified students that learn: {runs} a point, N = {self.inputs}, F: {self.feedback}"
        draw_figure(setup.folder / "relu.png", panels, title=title)
        formulas = {row["case"]: row["formula"] for row in rows}
        reference = cited(formulas, *FORMULA, quantity="share that learns, %")
        return Findings(rows=rows, reference=reference, pictures=["relu.png"], columns=RELU_COLUMNS)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        return _check_signs(rows) if part == "signs" else relu_checks(rows)


def _signs_row(case: str, students: Sequence[tuple[bool, bool, Sequence[float]]]) -> Record:
    """Return a row of students, each given by whether it converged, whether its signs agree, and its feedback."""
    done = [agree for converged, agree, _ in students if converged]
    slow = [min(abs(f) for f in F) for converged, _, F in students if not converged]
    row = {"part": "signs", "case": case, "n": len(students), "converged": 100 * len(done) / len(students)}
    agree = 100 * sum(done) / len(done) if done else None
    return {**row, "agree": agree, "smallest_unconverged": max(slow, default=None)}


def _check_signs(rows: Sequence[Record]) -> Checks:
    agree = "signs agree, of those that converged, %"
    for row in [row for row in rows if "dfa" in row["case"]]:
        yield at_least(f"signs: {row['case']}: {agree}", row["agree"], 100)
        yield at_least(f"signs: {row['case']}: converged, %", row["converged"], 80)
    bp = next(row for row in rows if "bp" in row["case"])
    yield at_most(f"signs: control: bp: {agree}", bp["agree"], 50)


def relu_row(teacher: int, hidden: int, answer: Mapping[str, Any]) -> Record:
    """Return one row: the share of rectified students that learnt, the formula for it, and a binomial test of both.

    The test is exact and two-sided. Shares are in percent.

    Args:
        teacher: M, hidden units of the teacher.
        hidden: K, of the students.
        answer: result of :func:`experiments.protocols.shallow.simulated_runs`.
    """
    from scipy.stats import binomtest

    errors, can = answer["error"][-1], answer["can"]
    learnt = [error < LEARNT * teacher for error in errors]
    n, p = len(errors), success_probability(hidden, teacher)
    count, wrong = sum(learnt), success_probability(hidden, teacher + 1)
    row = {"part": "relu", "case": f"M={teacher}, K={hidden}", "M": teacher, "K": hidden, "n": n}
    row |= {"learnt": 100 * count / n, "formula": 100 * p, "p_value": float(binomtest(count, n, p).pvalue)}
    row |= {"wrong_p_value": float(binomtest(count, n, wrong).pvalue), "positive": 100 * sum(can) / n}
    row |= {"predicted": 100 * sum(a == b for a, b in zip(learnt, can, strict=True)) / n}
    row |= {"highest_learnt": max((e for e, ok in zip(errors, learnt, strict=True) if ok), default=None)}
    return row | {"lowest_failed": min((e for e, ok in zip(errors, learnt, strict=True) if not ok), default=None)}


def relu_checks(rows: Sequence[Record]) -> Checks:
    """Check whether the shares of students that learn follow the formula.

    Two further checks: whether single students learn exactly when their feedback allows it, and, as a control, whether
    the data refuse a wrong formula.

    Args:
        rows: rows from :func:`relu_row`.
    """
    bound = FAMILY / len(rows)
    for row in rows:
        yield at_least(f"relu: {row['case']}: p-value of the formula", row["p_value"], bound)
    lowest, wrong = (min(row[key] for row in rows) for key in ("predicted", "wrong_p_value"))
    yield at_least("relu: students that do as their signs say, lowest cell, %", lowest, 95)
    yield at_most("relu: control: lowest p-value of the formula for M + 1", wrong, bound)


def _relu_panel(rows: Sequence[Record]) -> Panel:
    widths, formula, learnt, positive = ([row[key] for row in rows] for key in ("K", "formula", "learnt", "positive"))
    deviations = [2 * 100 * (share / 100 * (1 - share / 100) / rows[0]["n"]) ** 0.5 for share in formula]
    label = "formula, ± two deviations"
    x, y = Axis("hidden units of the student, K", whole=True), Axis("students that learn (%)", limits=(0, 105))
    panel = Panel(title=f"teacher with M = {rows[0]['M']}", x=x, y=y)
    panel.marks.append(Curve(label=label, x=widths, y=formula, style="D", error=deviations, colour="0.5"))
    panel.marks.append(Curve(label="share that learnt", x=widths, y=learnt, style="o", colour="tab:orange"))
    panel.marks.append(Curve(label="share with M positive entries of F", x=widths, y=positive, style=":"))
    return panel
