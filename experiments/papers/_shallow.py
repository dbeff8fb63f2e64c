"""Cells of the shallow experiments: students solved and simulated, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from experiments.tables import Record
from hwmodels.registry import build
from neurofa.theory.shallow import (
    HardwareNoise,
    OrderParameters,
    Problem,
    Solution,
    draw_students,
    simulate_students,
    solve_flow,
)
from neurofa.theory.shallow.degeneracy import can_succeed, signs_agree
from neurofa.theory.shallow.early import early_law

Fields = Mapping[str, Any]
DIGITS = 6
"""Significant ones, of the numbers that are kept."""


def problem_of(fields: Fields) -> Problem:
    """A problem from plain fields; ``hardware`` holds those of its hardware, number formats as specs."""
    io = dict(fields.get("hardware", {}))
    formats = {name: build("format", io.pop(name)) for name in ("feedback", "error") if name in io}
    rest = {name: value for name, value in fields.items() if name != "hardware"}
    return Problem(**rest, hardware=HardwareNoise(**io, **formats))


def compare(
    *, problem: Fields, theories: Mapping[str, Fields], seed: int, runs: int, inputs: int, hidden: int, teacher: int,
    sd: float, times: Sequence[float], feedback: str = "normal",
) -> Record:  # fmt: skip
    """Simulate students, and solve the equations of each from its own start.

    Args:
        problem: what is simulated, as :func:`problem_of` takes it.
        theories: problems that are solved, by name.
        seed: of the students and of their inputs.
        runs: students, each with a teacher of its own.
        inputs: N.
        hidden: K, units of a student.
        teacher: M, units of a teacher.
        sd: of the initial weights.
        times: steps / N.
        feedback: ``normal`` or ``signs``.

    Returns:
        ``t``, and by the name of a theory or ``simulated``: ``error`` and ``alignment`` (times, runs); ``v_gap``, the
        largest distance of an output weight to each theory's.
    """
    asked = problem_of(problem)
    gen = torch.Generator().manual_seed(seed)
    students = draw_students(gen, runs=runs, N=inputs, K=hidden, M=teacher, sd=sd, feedback=feedback)
    begin = students.order()
    t, seen = simulate_students(asked, students, times, gen)
    # what the array holds of the feedback, which is static
    starts = [replace(begin[run], F=seen.F[0, run]) for run in range(runs)]
    error, alignment = {"simulated": seen.error(asked.units)}, {"simulated": seen.alignment()}
    v_gap = {}
    for name, fields in theories.items():
        solved = [solve_flow(problem_of(fields), start, t.tolist()) for start in starts]
        error[name] = np.stack([s.error for s in solved], 1)
        alignment[name] = np.stack([s.order.alignment() for s in solved], 1)
        v_gap[name] = float(np.abs(np.stack([s.order.v for s in solved], 1) - seen.v).max())
    return {
        "t": t.tolist(), "error": {k: _plain(x) for k, x in error.items()},
        "alignment": {k: _plain(x) for k, x in alignment.items()}, "v_gap": v_gap,
    }  # fmt: skip


def first_steps(*, problem: Fields, seed: int, runs: int, inputs: int, hidden: int, teacher: int, t: float) -> Record:
    """Students that start at zero, beside the law of early times.

    Returns:
        Of every run: <v, F> and <c F, F>, c the coefficient of the law, and the cosine of v and F; and <v, F> of the
        closed equations.
    """
    asked = problem_of(problem)
    gen = torch.Generator().manual_seed(seed)
    students = draw_students(gen, runs=runs, N=inputs, K=hidden, M=teacher, sd=0.0)
    start = students.order()
    law = early_law(asked, start, t)
    _, seen = simulate_students(asked, students, [t], gen)
    solved = np.stack([solve_flow(asked, start[run], [t]).order.v[-1] for run in range(min(runs, 20))])
    return {
        "law": _plain((law.v * start.F).sum(-1)), "simulated": _plain((seen.v[0] * start.F).sum(-1)),
        "solved": _plain((solved * start.F[: len(solved)]).sum(-1)), "alignment": _plain(seen.alignment()[0]),
    }  # fmt: skip


def solved_runs(
    *, problem: Fields, seeds: Sequence[int], inputs: int, hidden: int, teacher: int, sd: float, times: Sequence[float],
    feedback: str, stop: float,
) -> Record:  # fmt: skip
    """The closed equations from the overlaps of random students of N inputs.

    Returns:
        A list ``runs``: error and alignment over ``t`` (shorter where ``stop`` was reached), entry and exit of the
        plateau, the feedback, and whether the signs of v agree with it in the end.
    """
    asked = problem_of(problem)
    lines = []
    for seed in seeds:
        gen = torch.Generator().manual_seed(seed)
        sizes = {"runs": 1, "N": inputs, "K": hidden, "M": teacher}
        start = draw_students(gen, **sizes, sd=sd, feedback=feedback, dtype=torch.float64).order()[0]
        found = solve_flow(asked, start, times, stop=stop)
        lines.append(_line(found, start) | {"seed": seed})
    return {"runs": lines}


def simulated_runs(
    *, problem: Fields, seed: int, runs: int, inputs: int, hidden: int, teacher: int, sd: float, times: Sequence[float],
    feedback: str,
) -> Record:  # fmt: skip
    """Students simulated to their end.

    Returns:
        Of every run: ``error`` at the times (times, runs), ``F`` and the last ``v`` (runs, K), whether the signs agree,
        and whether rectified units can succeed.
    """
    asked = problem_of(problem)
    gen = torch.Generator().manual_seed(seed)
    students = draw_students(gen, runs=runs, N=inputs, K=hidden, M=teacher, sd=sd, feedback=feedback)
    t, seen = simulate_students(asked, students, times, gen)
    last = seen[-1]
    return {
        "t": t.tolist(), "error": _plain(seen.error(asked.units)), "F": _plain(last.F), "v": _plain(last.v),
        "agree": signs_agree(last).tolist(), "can": can_succeed(last).tolist(),
    }  # fmt: skip


def _line(found: Solution, start: OrderParameters) -> Record:
    last = found.order[-1]
    return {
        "t": found.t.tolist(), "error": _plain(found.error), "alignment": _plain(found.order.alignment()),
        "entry": found.entry, "level": found.level, "exit": found.exit, "F": _plain(start.F), "v": _plain(last.v),
        "agree": bool(signs_agree(last)),
    }  # fmt: skip


def _plain(x: np.ndarray) -> Any:
    """Nested lists of short numbers."""
    return [_plain(row) for row in x] if x.ndim else float(f"{x:.{DIGITS}g}")
