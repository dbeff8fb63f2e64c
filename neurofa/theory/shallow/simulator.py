"""Online learning itself, of many students at once: N inputs, one fresh sample a step, every weight there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.inputs import Inputs
from neurofa.theory.shallow.order_parameters import OrderParameters
from neurofa.theory.shallow.problem import Problem

BLOCK = 2**17
"""Inputs that are drawn at once, few enough for the cache."""


@dataclass
class Students:
    """Students beside their teachers; every run has both of its own."""

    w: Tensor
    """(runs, K, N), first-layer weights."""
    v: Tensor
    """(runs, K), output weights."""
    B: Tensor
    """(runs, M, N), the teacher's first layer."""
    A: Tensor
    """(runs, M), its output weights."""
    F: Tensor
    """(runs, K), feedback as it was asked for."""

    def order(self) -> OrderParameters:
        """The order parameters, leading axis: runs; computed in double precision."""
        w, B = self.w.double(), self.B.double()
        N = w.shape[-1]

        def overlap(a: Tensor, b: Tensor) -> Tensor:
            return a @ b.transpose(1, 2) / N

        found = {
            "Q": overlap(w, w), "R": overlap(w, B), "T": overlap(B, B), "v": self.v, "A": self.A, "F": self.F,
        }  # fmt: skip
        return OrderParameters(**{name: x.double().cpu().numpy().copy() for name, x in found.items()})


def draw(
    gen: torch.Generator, *, runs: int, N: int, K: int, M: int, sd: float, feedback: str = "normal",
    dtype: torch.dtype = torch.float32,
) -> Students:  # fmt: skip
    """Students and teachers at random: B and F from N(0, 1), A = 1, w and v from N(0, sd^2).

    Args:
        gen: of everything; its device is that of the students.
        runs: how many.
        N: inputs.
        K: hidden units of a student.
        M: of a teacher.
        sd: of the initial weights of both layers; 0 starts at zero.
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


def simulate(
    problem: Problem, students: Students, times: Sequence[float], gen: torch.Generator
) -> tuple[np.ndarray, OrderParameters]:
    """Learn online, and look at the order parameters now and then.

    Args:
        problem: how the students learn.
        students: their state; learns in place.
        times: increasing, >= 0, in steps / N; each is rounded to whole steps.
        gen: of inputs and noise, on the device of the students.

    Returns:
        The times that were reached, (times,), and the order parameters there, leading axes: times, runs. ``F`` is the
        feedback that the array holds.

    Raises:
        NeurofaError: times that do not increase.
    """
    N = students.w.shape[-1]
    steps = [round(t * N) for t in times]
    if not steps or steps[0] < 0 or any(b <= a for a, b in pairwise(steps)):
        raise NeurofaError(f"got times {list(times)[:4]}...; expected increasing ones, a step apart or more; sort them")
    students.F = problem.hardware.programmed(students.F, gen)
    learning = _Learning(problem, students, gen)
    seen, now = [], 0
    for step in steps:
        learning.run(step - now)
        now = step
        seen.append(students.order())
    fields = ("Q", "R", "T", "v", "A", "F")
    order = OrderParameters(**{name: np.stack([getattr(o, name) for o in seen]) for name in fields})
    return np.array(steps) / N, order


class _Learning:
    """The update rule of :mod:`neurofa.theory.shallow.hardware`, line by line, for all runs at once.

    Weights move by products and sums of whole arrays: batched outer products take many times as long on a CPU.
    """

    def __init__(self, problem: Problem, students: Students, gen: torch.Generator) -> None:
        self.problem, self.students, self.gen, self.units = problem, students, gen, problem.units
        self.K = students.w.shape[1]
        # student and teacher in one array, so that one pass over it gives all fields
        self.weights = torch.cat([students.w, students.B], 1)
        self.w = students.w = self.weights[:, : self.K]
        self.v = students.v = students.v.clone()
        runs, _, N = self.w.shape
        self.inputs = Inputs((runs, 1, N), self.w, gen)

    def _normal(self, *shape: int) -> Tensor:
        like = self.w
        return torch.randn(like.shape[0], *shape, generator=self.gen, dtype=like.dtype, device=like.device)

    def run(self, steps: int) -> None:
        """Take so many steps, one fresh sample each."""
        runs, _, N = self.w.shape
        block = max(1, BLOCK // (runs * N))
        while steps > 0:
            count = min(block, steps)
            for x in self.inputs.draw(count):
                self._step(x)
            steps -= count

    def _step(self, x: Tensor) -> None:
        """One sample a run: ``x`` is (runs, 1, N), the input over sqrt N."""
        io, K, N, rate = self.problem.hardware, self.K, x.shape[2], self.problem.rate
        fields = torch.bmm(self.weights, x.transpose(1, 2)).squeeze(2)
        if io.read_noise:
            # the noise of all N weights of a unit, summed: given x it is Gaussian with variance s_r^2 |x|^2 / N
            fields[:, :K] += io.read_noise * x.square().sum(2).sqrt() * self._normal(K)
        out = self.units.g(fields)
        mine, v = out[:, :K], self.v
        if io.readout_noise:
            v = v + io.readout_noise * self._normal(K)
        e = (self.students.A * out[:, K:]).sum(1, keepdim=True) - (v * mine).sum(1, keepdim=True)
        if self.problem.label_noise:
            e += self.problem.label_noise * self._normal(1)

        F = self.students.F if self.problem.rule == "dfa" else self.v
        if io.feedback_noise:
            F = F + io.feedback_noise * self._normal(K)
        delta = F * (e if io.error is None else io.error.quantize(e, self.gen))
        if io.signal_noise:
            delta += io.signal_noise * self._normal(K)

        change = (rate * delta * self.units.slope(fields[:, :K])).unsqueeze(2)
        readout = (rate / N) * mine * e
        if io.pulse_noise:
            self.w.addcmul_(change, x * (1 + io.pulse_noise * self._normal(K, N)))
            readout = readout * (1 + io.pulse_noise * self._normal(K))
        else:
            self.w.addcmul_(change, x)
        if io.update_noise:
            self.w.add_(self._normal(K, N), alpha=io.update_noise * N**-0.5)
        self.v.add_(readout)
        if io.readout_update_noise:
            self.v.add_(self._normal(K), alpha=io.readout_update_noise * N**-0.5)
