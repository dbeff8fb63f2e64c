"""Degeneracy breaking: which of all students without error does the feedback select, and when is there none?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.papers import _shallow as shallow
from experiments.papers._shallow import Fields
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, at_least, at_most
from experiments.sweeps.function_sweep import run_function_sweep
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.degeneracy import success_probability

RATE = 0.1
TWO = {"hidden": 2, "teacher": 2}
WIDTHS = {1: (1, 2, 3, 4, 5, 6), 2: (2, 3, 4, 5, 6, 8)}
"""Hidden units K of the student by those of the teacher, M."""
CONVERGED = 1e-4
"""Generalisation error below which an erf student has learnt all; its plateau lies two orders above."""
LEARNT = 1e-2
"""Generalisation error, a unit of the teacher, below which a rectified student has learnt."""
FAMILY = 0.05
"""Chance that some cell of a table misses a true formula (Bonferroni: this over the cells is the bound of each)."""
KINDS = {"F from N(0, 1)": "normal", "|F| = 1": "signs"}
FORMULA = "derived; the criterion as in the authors' code"


class AlignDegeneracy(Experiment, name="align_degeneracy"):
    """Signs of the feedback decide which solution a shallow student takes, and whether rectified units find one.

    Parts: ``signs`` (erf units: the signs of v follow those of F in every student that converged; under bp, from the
    same starts, they need not), ``relu`` (share of rectified students that learn, against the probability that the
    feedback has M positive entries).

    Args:
        runs: students of a cell of the part relu.
        solved: students of the part signs that are solved, of each kind.
        simulated: students of the part signs that are simulated.
        inputs: N, of simulated students.
        horizon: last time of solved students, steps / N.
        until: last time of simulated students; none: 1000 in the part relu, 2500 in the part signs.
        feedback: of the part relu: ``signs`` (+1 or -1), or ``normal`` (from N(0, 1): a unit with a small entry is
            slow, and may not be ready in the end).
        widths: K of the part relu, for every M that is not larger; none: 1 to 6 for M = 1, 2 to 8 for M = 2.

    Raises:
        NeurofaError: a size below 1.
    """

    source = "Refinetti et al. 2021, arXiv 2011.12428 (abstract and code read; formula derived)"
    question = (
        "Do the output weights of a shallow student take the signs of its feedback, and do rectified units learn"
        " exactly where enough of these signs are right?"
    )
    parts = ("signs", "relu")

    def __init__(
        self, *, runs: int = 100, solved: int = 100, simulated: int = 50, inputs: int = 50, horizon: float = 20_000.0,
        until: float | None = None, feedback: Literal["signs", "normal"] = "signs", widths: list[int] | None = None,
    ) -> None:  # fmt: skip
        if (
            min(runs, solved, simulated, inputs, *(widths or [1])) < 1
            or horizon <= 0
            or (until is not None and until <= 0)
        ):
            raise NeurofaError(
                f"got align_degeneracy(runs={runs}, solved={solved}, simulated={simulated}, inputs={inputs}); expected"
                " sizes >= 1 and times > 0; raise them"
            )
        self.runs, self.solved, self.simulated, self.inputs = runs, solved, simulated, inputs
        self.horizon, self.until, self.feedback, self.widths = horizon, until, feedback, widths

    def run(self, part: str, setup: Setup) -> Findings:
        return self._signs(setup) if part == "signs" else self._relu(setup)

    def _signs(self, setup: Setup) -> Findings:
        solved = {
            f"solved, {rule}, {kind}": ({"rate": RATE, "rule": rule}, feedback)
            for rule in ("dfa", "bp") for kind, feedback in KINDS.items() if (rule, feedback) != ("bp", "signs")
        }  # fmt: skip
        count = self.solved * (3 if setup.full else 1)
        batches = [list(range(count))[at : at + 10] for at in range(0, count, 10)]
        cells: list[Fields] = [
            {
                "problem": problem, "seeds": seeds, "inputs": 500, **TWO, "sd": 0.1,
                "times": [1.0, self.horizon], "feedback": feedback, "stop": CONVERGED / 2,
            }
            for problem, feedback in solved.values() for seeds in batches
        ]  # fmt: skip
        answers = run_function_sweep(shallow.solved_runs, cells, setup, name="signs, solved")
        rows = []
        for at, case in enumerate(solved):
            lines = [line for answer in answers[at * len(batches) : (at + 1) * len(batches)] for line in answer["runs"]]
            rows.append(_signs_row(case, [(line["error"][-1] < CONVERGED, line["agree"], line["F"]) for line in lines]))
        cell = {
            "problem": {"rate": RATE}, "seed": 0,
            "runs": self.simulated * (4 if setup.full else 1), "inputs": self.inputs,
            **TWO, "sd": 0.1, "times": [self.until or 2500.0], "feedback": "signs",
        }  # fmt: skip
        (seen,) = run_function_sweep(shallow.simulated_runs, [cell], setup, name="signs, simulated")
        # a finite student fluctuates at the end, but not up to a plateau
        ends = [error < 10 * CONVERGED for error in seen["error"][-1]]
        rows.append(_signs_row("simulated, dfa, |F| = 1", list(zip(ends, seen["agree"], seen["F"], strict=True))))
        made = []
        for row in rows:
            if "dfa" in row["case"]:
                made.append(
                    at_least(f"signs: {row['case']}: signs agree, of those that converged, %", row["agree"], 100)
                )
                made.append(at_least(f"signs: {row['case']}: converged, %", row["converged"], 80))
        bp = next(row for row in rows if "bp" in row["case"])
        made.append(at_most("signs: control: bp: signs agree, of those that converged, %", bp["agree"], 50))
        return Findings(rows=rows, checks=made, columns=["case", "n", "converged", "agree", "smallest_unconverged"])

    def _relu(self, setup: Setup) -> Findings:
        runs = self.runs * (5 if setup.full else 1)
        places = [(M, K) for M, widths in WIDTHS.items() for K in (self.widths or widths) if K >= M]
        until = self.until or 1000.0
        cells: list[Fields] = [
            {
                "problem": {"rate": RATE, "activation": "relu"}, "seed": 10 * width + teacher, "runs": runs,
                "inputs": self.inputs, "hidden": width, "teacher": teacher, "sd": 1e-3, "times": [until / 2, until],
                "feedback": self.feedback,
            }
            for teacher, width in places
        ]  # fmt: skip
        answers = run_function_sweep(shallow.simulated_runs, cells, setup, name="relu")
        rows = [relu_row(teacher, width, answer) for (teacher, width), answer in zip(places, answers, strict=True)]
        panels = [
            _relu_panel([row for row in rows if row["M"] == teacher]) for teacher in dict.fromkeys(t for t, _ in places)
        ]
        draw_figure(
            setup.folder / "relu.png", panels,
            title=f"Rectified students that learn: {runs} a point, N = {self.inputs}, F: {self.feedback}",
        )  # fmt: skip
        reference = [
            Reference(f"M={r['M']}, K={r['K']}: share that learns, %", r["formula"], "2^-K sum_{k>=M} C(K, k)", FORMULA)
            for r in rows
        ]
        columns = [
            "case",
            "n",
            "learnt",
            "formula",
            "p_value",
            "positive",
            "predicted",
            "highest_learnt",
            "lowest_failed",
        ]
        return Findings(
            rows=rows, checks=relu_checks(rows), reference=reference, pictures=["relu.png"], columns=columns
        )


def _signs_row(case: str, students: Sequence[tuple[bool, bool, Sequence[float]]]) -> Record:
    """Whether each student converged, whether its signs agree, and its feedback."""
    done = [agree for converged, agree, _ in students if converged]
    slow = [min(abs(f) for f in F) for converged, _, F in students if not converged]
    return {
        "part": "signs", "case": case, "n": len(students), "converged": 100 * len(done) / len(students),
        "agree": 100 * sum(done) / len(done) if done else None, "smallest_unconverged": max(slow, default=None),
    }  # fmt: skip


def relu_row(teacher: int, hidden: int, answer: Mapping[str, object]) -> Record:
    """One cell: the share that learnt beside the formula, with the exact two-sided binomial test.

    Args:
        teacher: M, hidden units of the teacher.
        hidden: K, of the students.
        answer: of :func:`experiments.papers._shallow.simulated_runs`.
    """
    from scipy.stats import binomtest

    errors: Sequence[float] = answer["error"][-1]  # type: ignore[index]
    can: Sequence[bool] = answer["can"]  # type: ignore[assignment]
    learnt = [error < LEARNT * teacher for error in errors]
    n, p = len(errors), success_probability(hidden, teacher)
    return {
        "part": "relu", "case": f"M={teacher}, K={hidden}", "M": teacher, "K": hidden, "n": n,
        "learnt": 100 * sum(learnt) / n,
        "formula": 100 * p, "p_value": float(binomtest(sum(learnt), n, p).pvalue),
        "wrong_p_value": float(binomtest(sum(learnt), n, success_probability(hidden, teacher + 1)).pvalue),
        "positive": 100 * sum(can) / n,
        "predicted": 100 * sum(a == b for a, b in zip(learnt, can, strict=True)) / n,
        "highest_learnt": max((e for e, ok in zip(errors, learnt, strict=True) if ok), default=None),
        "lowest_failed": min((e for e, ok in zip(errors, learnt, strict=True) if not ok), default=None),
    }  # fmt: skip


def relu_checks(rows: Sequence[Record]) -> list[ExperimentCheck]:
    """Whether the shares follow the formula, each student its own signs, and another formula is told apart."""
    bound = FAMILY / len(rows)
    made = [at_least(f"relu: {row['case']}: p-value of the formula", row["p_value"], bound) for row in rows]
    made.append(
        at_least("relu: students that do as their signs say, lowest cell, %", min(r["predicted"] for r in rows), 95)
    )
    lowest = min(row["wrong_p_value"] for row in rows)
    made.append(at_most("relu: control: lowest p-value of the formula for M + 1", lowest, bound))
    return made


def _relu_panel(rows: Sequence[Record]) -> Panel:
    widths, n = [float(row["K"]) for row in rows], rows[0]["n"]
    deviation = [100 * (row["formula"] / 100 * (1 - row["formula"] / 100) / n) ** 0.5 for row in rows]
    return Panel(
        title=f"teacher with M = {rows[0]['M']}",
        x=Axis("hidden units of the student, K", whole=True),
        y=Axis("students that learn (%)", limits=(0, 105)),
        marks=[
            Curve(
                label="formula, ± two deviations", x=widths, y=[row["formula"] for row in rows], style="D",
                error=[2 * d for d in deviation], colour="0.5",
            ),
            Curve(
                label="share that learnt", x=widths, y=[row["learnt"] for row in rows], style="o", colour="tab:orange",
            ),
            Curve(label="share with M positive entries of F", x=widths, y=[row["positive"] for row in rows], style=":"),
        ],
    )  # fmt: skip
