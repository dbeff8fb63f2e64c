"""Simulated students of the shallow problem: many at once against one."""

from __future__ import annotations

from functools import partial

import torch

from experiments.speed.suite import SpeedCase, SpeedMethod, SpeedSuite
from experiments.speed.timing import Step
from neurofa.theory.shallow.problem import Problem
from neurofa.theory.shallow.simulator import draw_students, simulate_students

LEARNING_STEPS = 50
"""Learning steps in one measured step."""
INPUTS, STUDENTS = (100, 500, 1000), (1, 10, 100)


class ShallowSuite(SpeedSuite, name="shallow"):
    """Fifty steps of online learning, K = M = 2, erf units, float32: one student, ten, a hundred.

    A case a number of inputs; a ratio above 0.1 means that a hundred students take less than ten times as long as one.
    """

    def cases(self) -> tuple[SpeedCase, ...]:
        return tuple(SpeedCase(name=f"{n}-inputs", methods=_methods(n)) for n in INPUTS)


def _methods(n: int) -> tuple[SpeedMethod, ...]:
    return tuple(SpeedMethod(name=f"{runs} students", build=partial(_learning, n, runs)) for runs in STUDENTS)


def _learning(n: int, runs: int, device: torch.device) -> Step:
    gen = torch.Generator(device).manual_seed(0)
    students, problem = draw_students(gen, runs=runs, N=n, K=2, M=2, sd=0.1), Problem()
    return lambda: simulate_students(problem, students, [LEARNING_STEPS / n], gen)
