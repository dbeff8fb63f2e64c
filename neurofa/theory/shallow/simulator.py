"""Simulation of online learning, of many students at once: N inputs, one fresh sample a step, all weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.inputs import GaussianInputs
from neurofa.theory.shallow.order_parameters import OrderParameters
from neurofa.theory.shallow.problem import Problem

BLOCK = 2**17
"""Input values drawn at once, few enough for the cache."""


@dataclass
class Students:
    """Weights of students and teachers; every run has its own of both."""

    w: Tensor
    """(runs, K, N), first-layer weights."""
    v: Tensor
    """(runs, K), output weights."""
    B: Tensor
    """(runs, M, N), the teacher's first layer."""
    A: Tensor
    """(runs, M), the teacher's output weights."""
    F: Tensor
    """(runs, K), feedback before it is programmed."""

    def order(self) -> OrderParameters:
        """Return the order parameters, leading axis: runs; computed in double precision."""
        w, B = self.w.double(), self.B.double()
        N = w.shape[-1]

        def overlap(a: Tensor, b: Tensor) -> Tensor:
            return a @ b.transpose(1, 2) / N

        overlaps = {"Q": overlap(w, w), "R": overlap(w, B), "T": overlap(B, B)}
        values = overlaps | {"v": self.v, "A": self.A, "F": self.F}
        return OrderParameters(**{name: x.double().cpu().numpy().copy() for name, x in values.items()})


def draw_students(
    gen: torch.Generator,
    *,
    runs: int,
    N: int,
    K: int,
    M: int,
    sd: float,
    feedback: str = "normal",
    dtype: torch.dtype = torch.float32,
) -> Students:
    """Draw students and teachers: B and F from N(0, 1), A = 1, w and v from N(0, sd^2).

    Args:
        gen: source of all weights; its device is that of the students.
        runs: number of students, each with a teacher of its own.
        N: inputs.
        K: hidden units of a student.
        M: hidden units of a teacher.
        sd: standard deviation of the initial weights of both layers; 0 starts at zero.
        feedback: ``normal``, or ``signs``: +1 or -1, each with probability 1/2.
        dtype: of all weights.

    Raises:
        NeurofaError: a size below 1, a negative sd, or an unknown feedback.
    """
    if min(runs, N, K, M) < 1 or sd < 0:
        raise NeurofaError(f"got runs={runs}, N={N}, K={K}, M={M}, sd={sd}; expected sizes >= 1, sd >= 0; change them")
    if feedback not in ("normal", "signs"):
        raise NeurofaError(f"got feedback '{feedback}'; expected normal or signs; choose one")

    def normal(*shape: int) -> Tensor:
        return torch.randn(runs, *shape, generator=gen, dtype=dtype, device=gen.device)

    w, v, B, F = sd * normal(K, N), sd * normal(K), normal(M, N), normal(K)
    return Students(w=w, v=v, B=B, A=torch.ones_like(B[..., 0]), F=F if feedback == "normal" else F.sign())


def simulate_students(
    problem: Problem, students: Students, times: Sequence[float], gen: torch.Generator
) -> tuple[np.ndarray, OrderParameters]:
    """Train students online on fresh samples, and return their order parameters at given times.

    Args:
        problem: setting in which the students learn.
        students: their weights; changed in place.
        times: increasing, >= 0, in steps / N; each is rounded to whole steps.
        gen: source of inputs and noise, on the device of the students.

    Returns:
        The rounded times, (times,), and the order parameters then, leading axes: times, runs. ``F`` is the feedback
        that the array holds.

    Raises:
        NeurofaError: times that do not increase.
    """
    N = students.w.shape[-1]
    steps = [round(t * N) for t in times]
    if not steps or steps[0] < 0 or any(b <= a for a, b in pairwise(steps)):
        raise NeurofaError(f"got times {list(times)[:4]}...; expected increasing ones, a step apart or more; sort them")
    students.F = problem.hardware.program_feedback(students.F, gen)
    learning = _Learning(problem, students, gen)
    path, done = [], 0
    for step in steps:
        learning.run(step - done)
        done = step
        path.append(students.order())
    names = ("Q", "R", "T", "v", "A", "F")
    order = OrderParameters(**{name: np.stack([getattr(o, name) for o in path]) for name in names})
    return np.array(steps) / N, order


class _Learning:
    """The update rule of :mod:`neurofa.theory.shallow.hardware`, line by line, for all runs at once.

    Weights change by products and sums of whole arrays: batched outer products take many times as long on a CPU.
    """

    def __init__(self, problem: Problem, students: Students, gen: torch.Generator) -> None:
        self.problem, self.students, self.gen, self.units = problem, students, gen, problem.units
        self.K = students.w.shape[1]
        # one array for student and teacher, so that one product gives all fields
        self.weights = torch.cat([students.w, students.B], 1)
        self.w = students.w = self.weights[:, : self.K]
        self.v = students.v = students.v.clone()
        runs, _, N = self.w.shape
        self.inputs = GaussianInputs((runs, 1, N), self.w, gen)

    def _normal(self, *shape: int) -> Tensor:
        like = self.w
        return torch.randn(like.shape[0], *shape, generator=self.gen, dtype=like.dtype, device=like.device)

    def run(self, steps: int) -> None:
        """Take ``steps`` steps with one fresh sample each."""
        runs, _, N = self.w.shape
        # few calls of the generator: one for the inputs of several steps
        block = max(1, BLOCK // (runs * N))
        while steps > 0:
            count = min(block, steps)
            for x in self.inputs.draw(count):
                self._step(x)
            steps -= count

    def _step(self, x: Tensor) -> None:
        """Learn from one sample a run; ``x`` is the input over sqrt N, (runs, 1, N)."""
        noise, K, N, rate = self.problem.hardware, self.K, x.shape[2], self.problem.rate
        fields = torch.bmm(self.weights, x.transpose(1, 2)).squeeze(2)
        if noise.read_noise:
            # the summed noise of all N weights of a unit: given x it is Gaussian with variance s_r^2 |x|^2 / N
            fields[:, :K] += noise.read_noise * x.square().sum(2).sqrt() * self._normal(K)
        out = self.units.g(fields)
        hidden, v = out[:, :K], self.v
        if noise.readout_noise:
            v = v + noise.readout_noise * self._normal(K)
        e = (self.students.A * out[:, K:]).sum(1, keepdim=True) - (v * hidden).sum(1, keepdim=True)
        if self.problem.label_noise:
            e += self.problem.label_noise * self._normal(1)

        F = self.students.F if self.problem.rule == "dfa" else self.v
        if noise.feedback_noise:
            F = F + noise.feedback_noise * self._normal(K)
        delta = F * (e if noise.error is None else noise.error.quantize(e, self.gen))
        if noise.signal_noise:
            delta += noise.signal_noise * self._normal(K)

        # both layers take their step from the fields and outputs before it
        change = (rate * delta * self.units.slope(fields[:, :K])).unsqueeze(2)
        readout = (rate / N) * hidden * e
        if noise.pulse_noise:
            self.w.addcmul_(change, x * (1 + noise.pulse_noise * self._normal(K, N)))
            readout = readout * (1 + noise.pulse_noise * self._normal(K))
        else:
            self.w.addcmul_(change, x)
        if noise.update_noise:
            self.w.add_(self._normal(K, N), alpha=noise.update_noise * N**-0.5)
        self.v.add_(readout)
        if noise.readout_update_noise:
            self.v.add_(self._normal(K), alpha=noise.readout_update_noise * N**-0.5)
