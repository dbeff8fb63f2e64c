"""The closed equations: their derivative against single steps of finite students, and what their solutions do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.theory.shallow.early import early_law
from neurofa.theory.shallow.flow import Flow
from neurofa.theory.shallow.hardware import HardwareNoise
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.simulator import Students, draw_students, simulate_students
from neurofa.theory.shallow.solution import FLAT, LEFT, solve_flow

PROBLEMS = {
    "dfa": Problem(rate=0.5),
    "linear": Problem(rate=0.3, activation="linear"),
    "bp, label noise": Problem(rate=0.5, rule="bp", label_noise=0.8),
    "read noise": Problem(rate=0.5, hardware=HardwareNoise(read_noise=0.7)),
    "readout noise": Problem(rate=0.5, hardware=HardwareNoise(readout_noise=0.9)),
    "feedback noise": Problem(rate=0.5, hardware=HardwareNoise(feedback_noise=1.5)),
    "signal noise": Problem(rate=0.5, hardware=HardwareNoise(signal_noise=1.0)),
    "pulse noise": Problem(rate=0.5, hardware=HardwareNoise(pulse_noise=2.0)),
    "update noise": Problem(rate=0.5, hardware=HardwareNoise(update_noise=0.5)),
    "all, bp": Problem(
        rate=0.5,
        rule="bp",
        label_noise=0.8,
        hardware=HardwareNoise(
            read_noise=0.5, readout_noise=0.5, feedback_noise=0.7, signal_noise=0.5, pulse_noise=1.0, update_noise=0.3
        ),
    ),
}


@pytest.fixture(scope="module")
def students():
    made = draw_students(torch.Generator().manual_seed(3), runs=1, N=200, K=2, M=2, sd=1.0, dtype=torch.float64)
    made.w.add_(0.5 * made.B)
    return made


def increments(problem, students, *, runs=6000):
    """N times what one step changes in R, Q and v, a line a run."""
    N = students.w.shape[-1]
    many = Students(
        **{name: (x := getattr(students, name)).expand(runs, *x.shape[1:]) for name in ("w", "v", "B", "A", "F")}
    )
    _, seen = simulate_students(problem, many, [0, 1 / N], torch.Generator().manual_seed(0))
    return [N * (after - before).reshape(runs, -1) for before, after in (seen.R, seen.Q, seen.v)]


def worst(problem, rows, order):
    """Largest deviation of a mean from the derivative, in standard errors."""
    scores = []
    for row, claimed in zip(rows, Flow(problem, order).derivative(order), strict=True):
        scores.append(np.abs(row.mean(0) - claimed.ravel()) / (row.std(0) / len(row) ** 0.5))
    return float(np.concatenate(scores).max())


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_derivative_is_the_expected_step(students, name):
    problem, order = PROBLEMS[name], students.order()[0]
    rows = increments(problem, students)
    assert worst(problem, rows, order) < 4.5
    for other in controls(problem):
        assert worst(other, rows, order) > 6, other


def controls(problem):
    """Problems that these steps are not of."""
    made = [replace(problem, rate=1.5 * problem.rate), replace(problem, rule="bp" if problem.rule == "dfa" else "dfa")]
    if problem.rule == "bp" and problem.label_noise:
        made.append(replace(problem, rate=problem.label_noise, label_noise=problem.rate))
    if problem.hardware != HardwareNoise():
        made.append(replace(problem, hardware=HardwareNoise()))
    return made


@pytest.mark.long
def test_equations_follow_a_simulation():
    problem = Problem(rate=0.2)
    students = draw_students(torch.Generator().manual_seed(0), runs=16, N=300, K=3, M=2, sd=0.1)
    start, times = students.order(), [2.0, 5.0, 15.0]
    _, seen = simulate_students(problem, students, times, torch.Generator().manual_seed(1))
    found = [solve_flow(problem, start[i], times) for i in range(16)]
    theory = np.mean([solution.error for solution in found], axis=0)
    assert seen.error(problem.units).mean(1) == pytest.approx(theory, rel=0.02)
    assert np.abs(seen.v - np.stack([s.order.v for s in found], 1)).max() < 0.06
    other = np.mean([solve_flow(replace(problem, rule="bp"), start[i], times).error for i in range(16)], axis=0)
    assert np.abs(other / theory - 1).max() > 0.1


def start(seed=0, *, sd=0.1, K=2, M=2):
    gen = torch.Generator().manual_seed(seed)
    return draw_students(gen, runs=1, N=500, K=K, M=M, sd=sd, dtype=torch.float64).order()[0]


@pytest.mark.long
def test_plateaus_are_found_by_what_defines_them():
    problem, order = Problem(), start()
    found = solve_flow(problem, order, [1.0, 3000.0])
    assert found.entry is not None
    assert found.exit is not None
    around = solve_flow(problem, order, [found.entry * 0.999, found.entry, found.entry * 1.001, found.exit])
    assert -np.diff(np.log(around.error[[0, 2]])) / np.diff(np.log(around.t[[0, 2]])) == pytest.approx(FLAT, rel=1e-2)
    assert around.error[1] == pytest.approx(found.level, rel=1e-6)
    assert around.error[3] == pytest.approx(LEFT * found.level, rel=1e-5)
    ended = solve_flow(problem, order, [1.0, found.entry * 1.5])
    assert (ended.entry, ended.exit) == (pytest.approx(found.entry), None)
    assert solve_flow(problem, start(K=1, M=1), [1.0, 200.0]).entry is None  # one unit has nothing to choose
    exact = solve_flow(Problem(activation="linear", rule="bp", rate=1.0), order, [1e4])
    assert exact.entry is None  # nothing is left of the error but rounding
    stopped = solve_flow(problem, order, [1.0, found.exit, 1e4], stop=1e-6)
    assert stopped.t[:2].tolist() == [1.0, pytest.approx(found.exit)]
    assert found.exit < stopped.t[2] < 1e4
    assert stopped.error[2] == pytest.approx(1e-6, rel=1e-4)


@pytest.mark.long
def test_small_feedback_takes_long():
    order = start()
    even = replace(order, F=np.array([1.0, -1.0]))
    uneven = replace(order, F=np.array([1.0, -0.1]))
    first, second = (solve_flow(Problem(), o, [1e4]).exit for o in (even, uneven))
    assert first is not None
    assert second is not None
    assert second > 2 * first


def test_early_students_move_along_the_feedback():
    problem, order = Problem(rate=0.01), start(sd=0.0, K=3)
    law = early_law(problem, order, 0.5)
    found = solve_flow(problem, order, [0.5]).order[-1]
    assert found.v == pytest.approx(law.v, rel=0.01)
    assert np.abs(found.R / law.R - 1).max() < 0.01
    assert found.alignment() == pytest.approx(1, abs=1e-6)
    ideal = replace(order, T=np.eye(2))
    assert early_law(problem, ideal, 0.5).coefficient == pytest.approx((0.01 * 0.5) ** 2 * 2 / np.pi**2)
    linear = Problem(rate=0.01, activation="linear")
    assert solve_flow(linear, order, [0.5]).order.v[-1] == pytest.approx(early_law(linear, order, 0.5).v, rel=0.02)
    # later it is no longer small, and without feedback nothing moves at all
    assert solve_flow(problem, order, [100.0]).order.v[-1] != pytest.approx(early_law(problem, order, 100.0).v, rel=0.1)
    assert np.abs(solve_flow(replace(problem, rule="bp"), order, [10.0]).order.v).max() == 0
    noisy = Problem(rate=0.01, hardware=HardwareNoise(read_noise=1.0))
    assert solve_flow(noisy, order, [0.5]).order.v[-1] == pytest.approx(early_law(noisy, order, 0.5).v, rel=0.01)


def test_what_does_not_close_is_refused():
    order = start()
    for problem, reason in (
        (Problem(activation="relu"), "simulate"),
        (Problem(hardware=HardwareNoise(error=build("format", "ternary"))), "products"),
        (Problem(hardware=HardwareNoise(readout_update_noise=0.1)), "diffusion"),
    ):
        with pytest.raises(NeurofaError, match=reason):
            solve_flow(problem, order, [1.0])
    with pytest.raises(NeurofaError, match="one run"):
        Flow(Problem(), draw_students(torch.Generator(), runs=2, N=5, K=1, M=1, sd=0.1).order())
    with pytest.raises(NeurofaError, match="sort"):
        solve_flow(Problem(), order, [2.0, 1.0])
    with pytest.raises(NeurofaError, match="read_noise"):
        HardwareNoise(read_noise=-1)
    with pytest.raises(NeurofaError, match="give it a range"):
        HardwareNoise(error=build("format", "uniform(bits=3)"))
    HardwareNoise(error=build("format", "uniform(bits=3, range=1, rounding=stochastic)"))
    with pytest.raises(NeurofaError, match="dfa or bp"):
        Problem(rule="fa")  # type: ignore[arg-type]
    for relu in (Problem(activation="relu"), Problem(rule="bp")):
        with pytest.raises(NeurofaError, match="early"):
            early_law(relu, order, 1.0)
    with pytest.raises(NeurofaError, match="runs away"):
        solve_flow(Problem(hardware=HardwareNoise(update_noise=50.0)), order, [1e4])
