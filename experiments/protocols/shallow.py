"""Students of the shallow experiments, solved and simulated: functions of plain numbers that return plain numbers.

A student has N inputs, K hidden units, output weights v (K) and feedback weights F (K); it learns online from a teacher
of M hidden units (:mod:`neurofa.theory.shallow`). Times t are steps of learning over N. Alignment is cos(v, F), error
the generalisation error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from experiments.sweeps.function_sweep import run_function_sweep
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.registry import build
from neurofa.theory.shallow.degeneracy import can_succeed, signs_agree
from neurofa.theory.shallow.early import early_law
from neurofa.theory.shallow.hardware import HardwareNoise
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.simulator import Students, draw_students, simulate_students
from neurofa.theory.shallow.solution import solve_flow

Fields = Mapping[str, Any]
TWO = {"hidden": 2, "teacher": 2}
"""K = M = 2."""
KINDS = {"F from N(0, 1)": "normal", "|F| = 1": "signs"}
"""Distributions of the feedback, by their names in tables."""
DIGITS = 6
"""Significant digits of the numbers that are kept."""


def problem_of(fields: Fields) -> Problem:
    """Return the :class:`~neurofa.theory.shallow.problem.Problem` of plain values.

    Args:
        fields: its fields by name; under ``hardware`` a mapping with the fields of its hardware noise, in which number
            formats are specs.
    """
    hardware = dict(fields.get("hardware", {}))
    formats = {name: build("format", hardware.pop(name)) for name in ("feedback", "error") if name in hardware}
    rest = {name: value for name, value in fields.items() if name != "hardware"}
    return Problem(**rest, hardware=HardwareNoise(**hardware, **formats))


def seeded_students(
    seed: int, *, runs: int, inputs: int, hidden: int, teacher: int, sd: float, feedback: str = "normal", **options: Any
) -> tuple[Students, torch.Generator]:
    """Return random students with a teacher each, and the generator that goes on with their inputs.

    Args:
        seed: of the generator.
        runs: number of students.
        inputs: N.
        hidden: K, units of a student.
        teacher: M, units of a teacher.
        sd: standard deviation of the initial weights.
        feedback: ``normal`` or ``signs``.
        options: further ones of :func:`~neurofa.theory.shallow.draw_students`.
    """
    gen = torch.Generator().manual_seed(seed)
    return draw_students(gen, runs=runs, N=inputs, K=hidden, M=teacher, sd=sd, feedback=feedback, **options), gen


def simulate_beside_theories(
    *, problem: Fields, theories: Mapping[str, Fields], seed: int, times: Sequence[float], **students: Any
) -> Record:
    """Simulate students, and solve the closed equations of each from its own initial weights.

    Args:
        problem: the simulated one, as :func:`problem_of` takes it.
        theories: problems to solve, by name.
        seed: of the students and of their inputs.
        times: at which both are compared, steps / N.
        students: further arguments of :func:`seeded_students`.

    Returns:
        ``t``, the times; ``error`` and ``alignment``, each (times, runs) by the name of a theory or ``simulated``; and
        ``v_gap``, by theory the largest distance between an output weight in the simulation and in the theory.
    """
    simulated = problem_of(problem)
    drawn, gen = seeded_students(seed, **students)
    begin = drawn.order()
    t, path = simulate_students(simulated, drawn, times, gen)
    # what the array holds of the feedback, which is static
    starts = [replace(begin[run], F=path.F[0, run]) for run in range(students["runs"])]
    error, alignment = {"simulated": path.error(simulated.units)}, {"simulated": path.alignment()}
    v_gap = {}
    for name, fields in theories.items():
        solved = [solve_flow(problem_of(fields), start, t.tolist()) for start in starts]
        error[name] = np.stack([s.error for s in solved], 1)
        alignment[name] = np.stack([s.order.alignment() for s in solved], 1)
        v_gap[name] = float(np.abs(np.stack([s.order.v for s in solved], 1) - path.v).max())
    curves = ({name: _rounded(x) for name, x in by_name.items()} for by_name in (error, alignment))
    return {"t": t.tolist(), "v_gap": v_gap, **dict(zip(("error", "alignment"), curves, strict=True))}


def first_steps(*, problem: Fields, seed: int, t: float, **students: Any) -> Record:
    """Simulate students whose weights start at zero for a short time, beside the law of early times, v = c F.

    Args:
        problem: as :func:`problem_of` takes it.
        seed: of the students and of their inputs.
        t: time, steps / N.
        students: further arguments of :func:`seeded_students`.

    Returns:
        Lists with one number for each run, all at time t: ``simulated``, the scalar product of v and F; ``law``, the
        same by the law; ``alignment``, cos(v, F); and ``solved``, the same product by the closed equations, for at most
        20 runs.
    """
    simulated = problem_of(problem)
    drawn, gen = seeded_students(seed, sd=0.0, **students)
    start = drawn.order()
    law = early_law(simulated, start, t)
    _, path = simulate_students(simulated, drawn, [t], gen)
    solved = np.stack([solve_flow(simulated, start[run], [t]).order.v[-1] for run in range(min(students["runs"], 20))])
    products = {"law": law.v * start.F, "simulated": path.v[0] * start.F, "solved": solved * start.F[: len(solved)]}
    return {name: _rounded(x.sum(-1)) for name, x in products.items()} | {"alignment": _rounded(path.alignment()[0])}


def solved_runs(
    *, problem: Fields, seeds: Sequence[int], times: Sequence[float], stop: float, **students: Any
) -> Record:
    """Solve the closed equations from the overlaps of random students.

    Args:
        problem: as :func:`problem_of` takes it.
        seeds: one for each student.
        times: steps / N.
        stop: generalisation error at which the solution ends.
        students: further arguments of :func:`seeded_students`.

    Returns:
        ``runs``, a list with a dict for each student: ``error`` and ``alignment`` at the times ``t`` (fewer where
        ``stop`` was reached), ``entry``, ``exit`` and ``level`` of the plateau of the error, the feedback ``F``, the
        last ``v``, ``agree``, whether the signs of v are those of F in the end, and ``seed``.
    """
    lines = []
    for seed in seeds:
        start = seeded_students(seed, runs=1, dtype=torch.float64, **students)[0].order()[0]
        solution = solve_flow(problem_of(problem), start, times, stop=stop)
        last = solution.order[-1]
        curves = {"error": solution.error, "alignment": solution.order.alignment(), "F": start.F, "v": last.v}
        plateau = {"entry": solution.entry, "level": solution.level, "exit": solution.exit}
        line = {"t": solution.t.tolist(), **{name: _rounded(x) for name, x in curves.items()}, **plateau}
        lines.append(line | {"agree": bool(signs_agree(last)), "seed": seed})
    return {"runs": lines}


def simulated_runs(*, problem: Fields, seed: int, times: Sequence[float], **students: Any) -> Record:
    """Simulate students up to the last of the given times.

    Args:
        problem: as :func:`problem_of` takes it.
        seed: of the students and of their inputs.
        times: steps / N.
        students: further arguments of :func:`seeded_students`.

    Returns:
        ``t``, the times; ``error``, (times, runs); ``F`` and the last ``v``, (runs, K); and for each run ``agree``,
        whether the signs of v are those of F, and ``can``, whether F allows rectified units to learn the teacher.
    """
    simulated = problem_of(problem)
    drawn, gen = seeded_students(seed, **students)
    t, path = simulate_students(simulated, drawn, times, gen)
    last = path[-1]
    curves = {"error": path.error(simulated.units), "F": last.F, "v": last.v}
    signs = {"agree": signs_agree(last).tolist(), "can": can_succeed(last).tolist()}
    return {"t": t.tolist(), **{name: _rounded(x) for name, x in curves.items()}, **signs}


def _rounded(x: np.ndarray) -> Any:
    """Return nested lists of numbers of few digits."""
    return [_rounded(row) for row in x] if x.ndim else float(f"{x:.{DIGITS}g}")


KEPT = {simulate_beside_theories: "compare", first_steps: "first_steps", solved_runs: "solved_runs"}
KEPT |= {simulated_runs: "simulated_runs"}
"""Names under which rows are kept, so that rows of earlier results are found."""


def run_students(function: Callable[..., Record], cells: Sequence[Fields], setup: Setup, *, name: str) -> list[Record]:
    """Call one of the functions above for every cell, in worker processes; rows in the folder are not done again.

    Args:
        function: one of the functions above.
        cells: arguments of each call.
        setup: folder and workers.
        name: of the part, for the progress.
    """
    return run_function_sweep(function, cells, setup, name=name, kept_as=f"experiments.shallow.{KEPT[function]}")


def solve_students(setup: Setup, name: str, count: int, batch: int, **cell: Any) -> list[Record]:
    """Solve students of the seeds 0, 1, 2, ... in worker processes; return a line for each.

    Args:
        setup: folder and workers.
        name: of the part, for the progress.
        count: number of students.
        batch: students of one call.
        cell: arguments of :func:`solved_runs` but the seeds.
    """
    batches = [list(range(count))[at : at + batch] for at in range(0, count, batch)]
    answers = run_students(solved_runs, [{**cell, "seeds": seeds} for seeds in batches], setup, name=name)
    return [line for answer in answers for line in answer["runs"]]
