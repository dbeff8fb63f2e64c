"""Rows, checks and panels of the shallow experiments, from the answers of their cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from experiments.charts.figure import Axis, Panel
from experiments.charts.marks import Curve, Mark
from experiments.sweeps.experiment import ExperimentCheck, at_most
from experiments.tables import Record

COMPARED = ["case", "t", "simulated", "theory", "off", "worst_run", "v_gap"]
"""Columns of :func:`comparison`."""
WANTED = (10.0, 30.0, 100.0, 300.0)
"""Times at which theory and simulation are compared, steps / N."""
TIME = Axis("t (steps / N)", scale="log")
ERROR, COSINE = Axis("generalisation error", scale="log"), Axis("cos(v, F)")


def log_times(last: float, count: int = 25) -> list[float]:
    """Times from 1 to the last, evenly spaced on a logarithmic axis, with those that are compared."""
    spaced = {float(f"{t:.3g}") for t in np.geomspace(min(1.0, last / 5), last, count)}
    return sorted({*spaced, *(t for t in WANTED if t <= last)})


def comparison(part: str, case: str, answer: Record, theory: str = "theory") -> list[Record]:
    """Simulation beside a theory at the wanted times, errors as means over runs.

    Args:
        part: of the experiment.
        case: what was simulated.
        answer: of :func:`experiments.papers._shallow.compare`.
        theory: name of the theory.
    """
    rows: list[Record] = []
    for t, seen, solved in zip(answer["t"], answer["error"]["simulated"], answer["error"][theory], strict=True):
        if t in WANTED or t == answer["t"][-1]:
            off = [100 * (a / b - 1) for a, b in zip(seen, solved, strict=True)]
            rows.append({
                "part": part, "case": case, "t": t, "simulated": float(np.mean(seen)), "theory": float(np.mean(solved)),
                "off": float(100 * (np.mean(seen) / np.mean(solved) - 1)), "worst_run": max(off, key=abs),
                "v_gap": answer["v_gap"][theory],
            })  # fmt: skip
    return rows


def worst(rows: Sequence[Record]) -> float:
    """The largest difference of the means, percent."""
    return max(abs(float(row["off"])) for row in rows)


def closest(part: str, case: str, rows: Sequence[Record], bound: float) -> ExperimentCheck:
    """Whether the means of one case agree at all times."""
    return at_most(f"{part}: {case}: theory off by, %", worst([row for row in rows if row["case"] == case]), bound)


def compared_panel(
    case: str, answer: Record, theories: Sequence[str], beside: Record | None = None, what: str = "error"
) -> Panel:  # fmt: skip
    """Means over students: theories as lines, the simulation as points, another case's theory in grey."""
    lines: list[Mark] = (
        [] if beside is None else [_mean("ideal machine", beside["t"], beside[what]["theory"], "0.6", "--")]
    )
    for name in theories:
        right = name == "theory"
        lines.append(
            _mean(name, answer["t"], answer[what][name], "tab:blue" if right else "tab:red", "-" if right else "--")
        )
    lines.append(_mean("simulation", answer["t"], answer[what]["simulated"], "tab:orange", "o"))
    return Panel(title=case, marks=lines, x=TIME, y=ERROR)


def early_row(case: str, answers: Sequence[Record], t: float) -> Record:
    """The coefficient of v on F over that of the law, from all runs.

    With x the law's <v, F> of a run and y the one that was seen, sum y / sum x is the ratio of the coefficients, and
    its standard error that of the residuals y - ratio x.
    """
    law, seen = (np.concatenate([a[name] for a in answers]) for name in ("law", "simulated"))
    solved = np.concatenate([a["solved"] for a in answers])
    beside = np.concatenate([np.array(a["law"])[: len(a["solved"])] for a in answers])
    ratio = float(seen.sum() / law.sum())
    residual = seen - ratio * law
    alignment = np.concatenate([a["alignment"] for a in answers])
    return {
        "part": "early", "case": case, "t": t, "n": len(seen),
        "solved_off": float(100 * (solved.sum() / beside.sum() - 1)), "simulated_off": 100 * (ratio - 1),
        "deviation": float(100 * residual.std() * math.sqrt(len(seen)) / law.sum()),
        "alignment": float(alignment.mean()),
    }  # fmt: skip


def phase_row(case: str, lines: Sequence[Record], converged: float = 1e-4) -> Record:
    """Alignment and plateau of solved students: medians of the times, means of the cosines.

    Args:
        case: which feedback.
        lines: one a student, as :func:`experiments.papers._shallow.solved_runs` gives them.
        converged: error at which a student has learnt all.
    """
    t, cosines = mean_alignment(lines)
    peak = int(np.argmax(cosines))
    done = [line for line in lines if line["error"][-1] < converged]
    return {
        "part": "phases", "case": case, "n": len(lines), "entry": _median(lines, "entry"),
        "level": _median(lines, "level"), "exit": _median(lines, "exit"), "converged": 100 * len(done) / len(lines),
        "agree": 100 * sum(line["agree"] for line in done) / len(done) if done else None,
        "peak": float(cosines[peak]), "peak_t": t[peak], "final": float(cosines[-1]),
    }  # fmt: skip


def mean_alignment(lines: Sequence[Record]) -> tuple[list[float], np.ndarray]:
    """Times, and the mean of cos(v, F) over students; one that has ended keeps its last value."""
    t = max((line["t"] for line in lines), key=len)
    held = [line["alignment"] + [line["alignment"][-1]] * (len(t) - len(line["t"])) for line in lines]
    return t, np.mean(held, axis=0)


def phase_panels(runs: Mapping[str, Sequence[Record]], seen: Record, size: int) -> list[Panel]:
    """Errors and alignments of solved students, and of some that were simulated."""
    colours = dict(zip(runs, ("tab:blue", "tab:green"), strict=True))
    error: list[Mark] = []
    cosine: list[Mark] = []
    for case, lines in runs.items():
        error += [Curve(label=f"solved, {case}", x=line["t"], y=line["error"], colour=colours[case]) for line in lines]
        t, cosines = mean_alignment(lines)
        cosine.append(Curve(label=f"solved, {case}", x=t, y=cosines.tolist(), colour=colours[case]))
    both = []
    for what, y in (("error", ERROR), ("alignment", COSINE)):
        drawn: list[Mark] = []
        for run in range(len(seen[what]["simulated"][0])):
            theory, simulated = ([row[run] for row in seen[what][name]] for name in ("theory", "simulated"))
            drawn.append(Curve(label="theory of one student", x=seen["t"], y=theory, colour="0.4"))
            drawn.append(Curve(label="simulation of it", x=seen["t"], y=simulated, colour="tab:orange", style="o"))
        both.append(Panel(title=f"simulated, N = {size}, |F| = 1", marks=drawn, x=TIME, y=y))
    return [
        Panel(title="every student", marks=error, x=TIME, y=replace(ERROR, limits=(1e-6, 2))),
        Panel(title="mean over students", marks=cosine, x=TIME, y=COSINE),
        *both,
    ]


def _mean(label: str, t: Sequence[float], values: Sequence[Sequence[float]], colour: str, style: str) -> Mark:
    return Curve(label=label, x=t, y=np.mean(values, axis=1).tolist(), colour=colour, style=style)


def _median(lines: Sequence[Record], name: str) -> float | None:
    """Over the students that have such a time; None where there is none."""
    found = [line[name] for line in lines if line[name] is not None]
    return float(np.median(found)) if found else None
