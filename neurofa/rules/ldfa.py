"""Low-dimensional feedback whose two factors follow the weights."""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Teaching
from neurofa.core.directions import Direction, Directions, LowRank, ReturnWeights
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.core.products import At, Item, Map
from neurofa.core.view import LocalView, Params
from neurofa.families.low_rank import LowRankChained, P, Q, along_flop, along_p, along_q

OVERSAMPLED, PASSES = 8, 2
"""Directions beyond r, and power iterations, of the randomised decomposition."""


class LDFA(LowRankChained, ABC):
    """B = P Q with both factors learning; may take both from a truncated decomposition of W."""

    every: int = 0
    """Steps from one decomposition to the next; 0: only before the first."""
    steps: Tensor
    copies: bool = False
    """Whether the factors are ever taken from W."""

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, local=not self.copies, transports="weights" if self.copies else "nothing")

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        self.steps += 1

    def learning(self) -> tuple[str, ...]:
        return (P, Q)

    def _due(self) -> bool:
        if not self.copies:
            return False
        steps = int(self.steps)
        return not steps or (self.every > 0 and not steps % self.every)

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        if params and self._due():
            for key in self.maps(name):
                p, q = self.factor(name, P + key), self.factor(name, Q + key)
                made = truncated(params[key], p.weight.shape[1], self.gen)
                p.program(made.p, gen)
                q.program(made.q, gen)
        return super().return_weights(name, params, gen)

    def work_of(self, at: At, m: Map, rank: int) -> list[Item]:
        return [Item("adaptation", truncated_flop(m.n_out, m.n_in, rank), self.every)] if self.copies else []


class LDFALocal(LDFA, name="ldfa_local"):
    """Both factors are driven by the change of W: dP = dW Q^T and dQ = P^T dW (Kolen-Pollack with two factors).

    dW Q^T = sum delta (Q x)^T and P^T dW = sum (P^T delta) x^T: what passes through the two factors anyway. With the
    same decay in the optimizer P Q turns towards W.

    Args:
        rank: r, at least 1; at most min(n_out, n_in) of each map.
        init: ``random``, or ``svd``: the factors begin as the truncated decomposition of the first weights, as in the
            authors' code; that copies the weights once, so that the rule is then not local.
        only: names of the layers whose rank is r; the others have full rank. None: all.
        feedback: distribution and device of both factors.
        error: number format of the output error before it is returned.
        clamp: largest size of an element of a delivered error, in units of the batch's mean loss; None: no limit.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v4, the synapse-local rule, as in the first author's code"

    def __init__(
        self,
        *,
        rank: int = 10,
        init: str = "random",
        only: list[str] | None = None,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
        clamp: float | None = None,
    ) -> None:
        super().__init__(rank=rank, only=only, feedback=feedback, error=error, clamp=clamp)
        if init not in ("random", "svd"):
            raise NeurofaError(f"got ldfa_local(init={init}); expected random or svd; choose one")
        self.copies = init == "svd"

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, plasticity="two_factor")

    def learn(self, name: str, key: str, back: LowRank, view: LocalView, direction: Direction) -> Directions:
        return {P + key: along_q(back, direction), Q + key: along_p(back, direction)}

    def work_of(self, at: At, m: Map, rank: int) -> list[Item]:
        return [*super().work_of(at, m, rank), Item("adaptation", 2 * along_flop(m, rank))]


class LDFANormative(LDFA, name="ldfa_normative"):
    """P Q tracks W by gradient descent on |P Q - W|^2 / 2, and is its truncated decomposition every so often.

    dP = -(P Q - W) Q^T, dQ = -P^T (P Q - W). It reads the weights: it saves compute, and is not local.

    Args:
        rank: r, at least 1; at most min(n_out, n_in) of each map.
        every: steps from one decomposition W = U S V^T, P = U sqrt(S), Q = sqrt(S) V^T, to the next; half an epoch in
            the authors' code. 0: only before the first step.
        rate: size of the descent in units of the learning rate (without effect under Adam).
        limit: largest size of an element of either gradient.
        only: names of the layers whose rank is r; the others have full rank. None: all.
        feedback: device of both factors.
        error: number format of the output error before it is returned.
        clamp: largest size of an element of a delivered error, in units of the batch's mean loss; None: no limit.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v4, the normative rule, as in the first author's code"
    copies = True

    def __init__(
        self,
        *,
        rank: int = 10,
        every: int = 100,
        rate: float = 1.0,
        limit: float = 10.0,
        only: list[str] | None = None,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
        clamp: float | None = None,
    ) -> None:
        super().__init__(rank=rank, only=only, feedback=feedback, error=error, clamp=clamp)
        if every < 0 or not rate > 0 or not limit > 0:
            raise NeurofaError(
                f"got ldfa_normative(every={every}, rate={rate}, limit={limit}); expected every >= 0, positive rate and"
                " limit; change it"
            )
        self.every, self.rate, self.limit = every, rate, limit

    def learn(self, name: str, key: str, back: LowRank, view: LocalView, direction: Direction) -> Directions:
        off = back.dense() - view.params[key]
        size = self.rate * len(view.x)  # a descent of its own, not a sum over the batch
        return {
            P + key: _limited(along_q(back, off), self.limit) * size,
            Q + key: _limited(along_p(back, off), self.limit) * size,
        }

    def work_of(self, at: At, m: Map, rank: int) -> list[Item]:
        # P Q, (P Q - W) Q^T and P^T (P Q - W): the same number whatever the batch
        return [*super().work_of(at, m, rank), Item("adaptation", 6 * rank * m.n_out * m.n_in)]


def _limited(direction: Direction, limit: float) -> Tensor:
    assert isinstance(direction, Tensor)
    return direction.clamp(-limit, limit)


def truncated(weight: Tensor, rank: int, gen: torch.Generator | None) -> LowRank:
    """The r leading terms of W = U S V^T, P = U sqrt(S) and Q = sqrt(S) V^T, found by random projection.

    Args:
        weight: (n_out, n_in) or (C_out, C_in, k, k).
        rank: r.
        gen: source of the projection, on the CPU.

    Source: Halko, Martinsson and Tropp 2011, SIAM Rev. 53, 217.
    """
    w = weight.detach().flatten(1)
    width = min(rank + OVERSAMPLED, *w.shape)
    start = torch.randn(w.shape[1], width, generator=gen, dtype=w.dtype).to(w.device)
    basis = torch.linalg.qr(w @ start)[0]
    for _ in range(PASSES):
        basis = torch.linalg.qr(w @ torch.linalg.qr(w.t() @ basis)[0])[0]
    u, s, v = torch.linalg.svd(basis.t() @ w, full_matrices=False)
    root = s[:rank].sqrt()
    return LowRank((basis @ u[:, :rank]) * root, (root[:, None] * v[:rank]).view(rank, *weight.shape[1:]))


def truncated_flop(n_out: int, n_in: int, rank: int) -> int:
    """FLOP of the products in :func:`truncated`; its QR and SVD are not among them."""
    width = min(rank + OVERSAMPLED, n_out, n_in)
    return 2 * n_out * n_in * width * (2 + 2 * PASSES) + 2 * n_out * width * min(rank, width)
