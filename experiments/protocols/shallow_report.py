"""Rows, checks and panels of the shallow experiments, from the answers of :mod:`experiments.protocols.shallow`.

Symbols are those of that module: output weights v, feedback weights F, times t in steps of learning over N.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from experiments.charts.figure import Axis, Panel
from experiments.charts.marks import Curve
from experiments.sweeps.experiment import ExperimentCheck, at_most
from experiments.tables import Record

COMPARED = ["case", "t", "simulated", "theory", "off", "worst_run", "v_gap"]
"""Columns of :func:`comparison`."""
WANTED = (10.0, 30.0, 100.0, 300.0)
"""Times at which theory and simulation are compared, steps / N."""
TIME = Axis("t (steps / N)", scale="log")
ERROR, COSINE = Axis("generalisation error", scale="log"), Axis("cos(v, F)")


def log_times(last: float, count: int = 25) -> list[float]:
    """Return times from 1 to the last, evenly spaced on a logarithmic axis, with those that are compared."""
    spaced = {float(f"{t:.3g}") for t in np.geomspace(min(1.0, last / 5), last, count)}
    return sorted({*spaced, *(t for t in WANTED if t <= last)})


def comparison(part: str, case: str, answer: Record, theory: str = "theory") -> list[Record]:
    """Return rows that compare a simulation with a theory, one at each time of :data:`WANTED` and at the last.

    A row has the mean generalisation errors ``simulated`` and ``theory``, their difference ``off`` and that of the
    worst run, ``worst_run``, both in percent of the theory, and ``v_gap``, the largest distance of output weights.

    Args:
        part: name of the part of the experiment.
        case: name of the simulated problem.
        answer: result of :func:`experiments.protocols.shallow.simulate_beside_theories`.
        theory: name of the theory.
    """
    rows: list[Record] = []
    curves = zip(answer["t"], answer["error"]["simulated"], answer["error"][theory], strict=True)
    for t, simulated, solved in curves:
        if t in WANTED or t == answer["t"][-1]:
            ratios = [100 * (a / b - 1) for a, b in zip(simulated, solved, strict=True)]
            off = float(100 * (np.mean(simulated) / np.mean(solved) - 1))
            row = {"part": part, "case": case, "t": t, "simulated": float(np.mean(simulated))}
            row |= {"theory": float(np.mean(solved)), "off": off, "worst_run": max(ratios, key=abs)}
            rows.append(row | {"v_gap": answer["v_gap"][theory]})
    return rows


def worst_mean(rows: Sequence[Record]) -> float:
    """Return the largest difference between the mean errors of simulation and theory, percent.

    Args:
        rows: rows from :func:`comparison`.
    """
    return max(abs(float(row["off"])) for row in rows)


def closest(part: str, case: str, rows: Sequence[Record], bound: float) -> ExperimentCheck:
    """Check whether the mean errors of simulation and theory agree at all times of one case.

    Args:
        part: name of the part of the experiment.
        case: name of the simulated problem.
        rows: rows from :func:`comparison`.
        bound: largest difference, percent.
    """
    return at_most(f"{part}: {case}: theory off by, %", worst_mean([row for row in rows if row["case"] == case]), bound)


def compared_panel(case: str, answer: Record, theories: Sequence[str], beside: Record | None = None) -> Panel:
    """Return a panel of mean generalisation errors over students: theories as lines, the simulation as points.

    Args:
        case: title of the panel.
        answer: result of :func:`experiments.protocols.shallow.simulate_beside_theories`.
        theories: names of the theories to draw.
        beside: answer whose theory is drawn in grey.
    """
    panel = Panel(title=case, x=TIME, y=ERROR)
    if beside is not None:
        panel.marks.append(_mean("ideal machine", beside, "theory", "0.6", "--"))
    for name in theories:
        colour, style = ("tab:blue", "-") if name == "theory" else ("tab:red", "--")
        panel.marks.append(_mean(name, answer, name, colour, style))
    panel.marks.append(_mean("simulation", answer, "simulated", "tab:orange", "o"))
    return panel


def _mean(label: str, answer: Record, name: str, colour: str, style: str) -> Curve:
    means = np.mean(answer["error"][name], axis=1).tolist()
    return Curve(label=label, x=answer["t"], y=means, colour=colour, style=style)


def early_row(case: str, answers: Sequence[Record], t: float) -> Record:
    """Return a row that compares the growth of v along F with the law of early times, v = c F.

    With x the scalar product of v and F by the law in a run, and y the simulated one, sum y / sum x is the ratio of the
    two coefficients c, and its standard error that of the residuals y - ratio x. The row has the differences from 1 in
    percent: ``simulated_off``, ``solved_off`` (closed equations) and ``deviation`` (the standard error); and
    ``alignment``, the mean of cos(v, F).

    Args:
        case: name of the problem.
        answers: results of :func:`experiments.protocols.shallow.first_steps`.
        t: time, steps / N.
    """
    law, simulated, solved, alignment = (
        np.concatenate([a[name] for a in answers]) for name in ("law", "simulated", "solved", "alignment")
    )
    law_solved = np.concatenate([np.array(a["law"])[: len(a["solved"])] for a in answers])
    ratio = float(simulated.sum() / law.sum())
    residual = simulated - ratio * law
    row = {"part": "early", "case": case, "t": t, "n": len(simulated), "simulated_off": 100 * (ratio - 1)}
    row |= {"solved_off": float(100 * (solved.sum() / law_solved.sum() - 1)), "alignment": float(alignment.mean())}
    return row | {"deviation": float(100 * residual.std() * math.sqrt(len(simulated)) / law.sum())}


def phase_row(case: str, lines: Sequence[Record], converged: float = 1e-4) -> Record:
    """Return a row about the alignment and the plateau of solved students.

    It has the medians of ``entry``, ``exit`` and ``level`` of the plateau; of the mean of cos(v, F) over students its
    highest value ``peak``, the time ``peak_t`` of this and the last value ``final``; the percentage ``converged`` of
    students, and of these the percentage ``agree`` in which the signs of v are those of F.

    Args:
        case: which feedback.
        lines: one a student, as :func:`experiments.protocols.shallow.solved_runs` returns them.
        converged: error at which a student has learnt all.
    """
    t, cosines = mean_alignment(lines)
    peak = int(np.argmax(cosines))
    done = [line for line in lines if line["error"][-1] < converged]
    row = {"part": "phases", "case": case, "n": len(lines), "converged": 100 * len(done) / len(lines)}
    row |= {name: _median(lines, name) for name in ("entry", "level", "exit")}
    row |= {"agree": 100 * sum(line["agree"] for line in done) / len(done) if done else None}
    return row | {"peak": float(cosines[peak]), "peak_t": t[peak], "final": float(cosines[-1])}


def mean_alignment(lines: Sequence[Record]) -> tuple[list[float], np.ndarray]:
    """Return the mean over students of the alignment cos(v, F) of output weights and feedback, at all times.

    Solutions may end at different times; one that has ended counts with its last value.

    Args:
        lines: one a student, as :func:`experiments.protocols.shallow.solved_runs` returns them.

    Returns:
        The times t (steps / N) of the longest solution, and the means at these times.
    """
    t = max((line["t"] for line in lines), key=len)
    held = [line["alignment"] + [line["alignment"][-1]] * (len(t) - len(line["t"])) for line in lines]
    return t, np.mean(held, axis=0)


def phase_panels(runs: Mapping[str, Sequence[Record]], simulated: Record, size: int) -> list[Panel]:
    """Return panels of errors and alignments of solved students, and of some that were simulated.

    Args:
        runs: lines of :func:`experiments.protocols.shallow.solved_runs` by feedback.
        simulated: result of :func:`experiments.protocols.shallow.simulate_beside_theories`.
        size: N of the simulated students.
    """
    every = Panel(title="every student", x=TIME, y=replace(ERROR, limits=(1e-6, 2)))
    means = Panel(title="mean over students", x=TIME, y=COSINE)
    for case, lines in runs.items():
        label = f"solved, {case}"
        every.marks.extend(Curve(label=label, x=line["t"], y=line["error"]) for line in lines)
        t, cosines = mean_alignment(lines)
        means.marks.append(Curve(label=label, x=t, y=cosines.tolist()))
    panels = [every, means]
    for measure, y in (("error", ERROR), ("alignment", COSINE)):
        panel = Panel(title=f"simulated, N = {size}, |F| = 1", x=TIME, y=y)
        curves = (zip(*simulated[measure][name], strict=True) for name in ("theory", "simulated"))
        for theory, simulation in zip(*curves, strict=True):
            panel.marks.append(Curve(label="theory of one student", x=simulated["t"], y=theory, colour="0.4"))
            points = Curve(label="simulation of it", x=simulated["t"], y=simulation, colour="tab:orange", style="o")
            panel.marks.append(points)
        panels.append(panel)
    return panels


def _median(lines: Sequence[Record], name: str) -> float | None:
    """Return the median over the students that have such a time; None where there is none."""
    times = [line[name] for line in lines if line[name] is not None]
    return float(np.median(times)) if times else None
