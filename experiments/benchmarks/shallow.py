"""Simulated students of the shallow problem: many at once against one."""

from __future__ import annotations

import functools

import torch

from experiments.benchmarks._measure import Step
from experiments.benchmarks._suite import Case, Method, Suite
from neurofa.theory.shallow import Problem, draw_students, simulate_students

STEPS = 50
"""Learning steps in one step of the benchmark."""


class ShallowSuite(Suite, name="shallow"):
    """Fifty steps of online learning, K = M = 2, erf units, float32: one student, ten, a hundred.

    A case a number of inputs; a ratio above 0.1 means that a hundred students take less than ten times as long as one.
    """

    def cases(self) -> tuple[Case, ...]:
        return tuple(
            Case(
                name=f"{n}-inputs",
                methods=tuple(
                    Method(name=f"{runs} students", build=functools.partial(_learning, n, runs))
                    for runs in (1, 10, 100)
                ),
            )
            for n in (100, 500, 1000)
        )


def _learning(n: int, runs: int, device: torch.device) -> Step:
    gen = torch.Generator(device).manual_seed(0)
    students, problem = draw_students(gen, runs=runs, N=n, K=2, M=2, sd=0.1), Problem()
    return lambda: simulate_students(problem, students, [STEPS / n], gen)
