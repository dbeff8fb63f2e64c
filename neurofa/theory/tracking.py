"""Feedback that tracks a constant gradient: the toy model of the rules called GrAPE.

B (n, o) tracks g (n, o), known exactly or from probes. Without noise the original rule of 2025 turns no row: it scales
the rows by exp(S c_i), S the sum of its steps, so that from random rows the cosine of the whole matrix has the ceiling
1/sqrt(e o), e = 2.718, near S = sqrt(o). Alternative 2 is a running mean and converges to the direction of g.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hwmodels.errors import NeurofaError
from neurofa.families.jacobian_tracking import cosines
from neurofa.rules.grape import blend, lean, settle, shrink, turn

STEPS: Mapping[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "original": lambda b, _, cos, eta: shrink(b, cos, eta),
    "alternative 1": lean,
    "alternative 2": lambda b, g, _, eta: blend(b, g, eta),
    "2026": lambda b, g, cos, eta: turn(b, g, eta, cos),
}
"""Steps of B by rule: B, the estimate of g, the cosines of their rows, eta."""


@dataclass(frozen=True, kw_only=True)
class FeedbackTracker:
    """Toy model of the rules called GrAPE: a feedback B, (n, o), that turns towards a constant gradient g, (n, o).

    Each step updates B from an estimate of g by the function that the rule itself uses.

    Raises:
        NeurofaError: an unknown rule.
    """

    rule: str
    """``original``, ``alternative 1`` or ``alternative 2`` (of 2025), or ``2026``; see :data:`STEPS`."""
    eta: float
    """Size of the first step."""
    decay: float = 1.0
    """Factor of eta per step."""
    noise: float = 0.0
    """nu: standard deviation of the normal noise that each step adds to B, in units of |B|_F/sqrt(n o)."""
    scalar: bool = False
    """Whether one cosine of the whole matrix replaces the cosines of the rows."""

    def __post_init__(self) -> None:
        if self.rule not in STEPS:
            raise NeurofaError(f"got rule '{self.rule}'; expected {', '.join(STEPS)}; choose one")

    def track(self, b: Tensor, estimates: Iterable[Tensor], gen: torch.Generator) -> Iterator[Tensor]:
        """Yield the feedback matrix B as it learns, one step for every estimate of g.

        Args:
            b: (n, o) at the start; its Frobenius norm is kept. Under 2026 its rows get length 1 instead.
            estimates: of g, (n, o).
            gen: source of the noise.

        Yields:
            B before the first step and after every one.
        """
        b = normalize(b, dim=1) if self.rule == "2026" else b
        norm = b.norm()
        yield b
        for index, g in enumerate(estimates):
            eta = self.eta * self.decay**index
            cos = cosines(b.reshape(1, -1), g.reshape(1, -1)) if self.scalar else cosines(b, g)
            b = STEPS[self.rule](b, g, cos, eta)
            settle(b, self.noise, None if self.rule == "2026" else norm, gen)
            yield b


def tracking_cosines(path: Iterable[Tensor], g: Tensor) -> Tensor:
    """Return the mean cosine of rows with those of g, and the cosine of the whole matrix: (matrices, 2).

    Args:
        path: matrices B, (n, o).
        g: (n, o).
    """
    length, rows = g.norm(), normalize(g, dim=1)
    # eps: a row that has shrunk to nearly nothing still has a direction
    return torch.stack(
        [
            torch.stack([(normalize(b, dim=1, eps=1e-300) * rows).sum(1).mean(), (b * g).sum() / (b.norm() * length)])
            for b in path
        ]
    )


def rows_at_cosine(g: Tensor, cos: float, gen: torch.Generator) -> Tensor:
    """Draw rows of length 1 in random directions at a given cosine with those of g.

    Args:
        g: (n, o).
        cos: the cosine.
        gen: source of the directions.

    Returns:
        (n, o).
    """
    along = normalize(g, dim=1)
    drawn = torch.randn(g.shape, generator=gen, dtype=g.dtype)
    across = normalize(drawn - (drawn * along).sum(1, keepdim=True) * along, dim=1)
    return cos * along + math.sqrt(1 - cos**2) * across


def gradient_estimates(g: Tensor, gen: torch.Generator, *, averaged: bool, terms: int = 64) -> Iterator[Tensor]:
    """Yield estimates of g from probes, (1/N) sum_i delta_i (g^T delta_i)^T.

    Args:
        g: (n, o).
        gen: source of the probes delta_i.
        averaged: yield the mean of all estimates so far instead of the last one.
        terms: N, probes an estimate.
    """
    # E delta delta^T = I, so that the estimate is unbiased
    total, count = torch.zeros_like(g), 0
    while True:
        delta = torch.randn(terms, len(g), generator=gen, dtype=g.dtype)
        estimate = delta.t() @ (delta @ g) / terms
        total, count = total + estimate, count + 1
        yield total / count if averaged else estimate


def original_rule_cosine(o: int, total: float) -> float:
    """Return cos(B, g) of the original rule without noise, from many random rows: (S/o) exp(-S^2/(2 o)).

    Rows of the same length get the weights exp(S c_i) with c_i ~ N(0, 1/o).

    Args:
        o: columns.
        total: S, the sum of the steps eta.
    """
    return total / o * math.exp(-(total**2) / (2 * o))


def original_rule_ceiling(o: int) -> float:
    """Return the highest matrix cosine of the original rule, 1/sqrt(2.718 o), reached at S = sqrt(o).

    Args:
        o: columns.
    """
    return original_rule_cosine(o, math.sqrt(o))
