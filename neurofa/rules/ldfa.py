"""Low-dimensional feedback alignment: return weights B = P Q whose two factors track the weights."""

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
from neurofa.core.products import MapWork, PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.view import LocalView, Params
from neurofa.families.low_rank import LowRankChained, P, Q, along_flop, along_p, along_q

OVERSAMPLED, PASSES = 8, 2
"""Oversampling (dimensions beyond r) and power iterations of the randomised SVD."""


class LDFA(LowRankChained, ABC):
    """A rule whose return weights B = P Q have two factors that both learn, beside forward weights W.

    With ``copies`` the factors are also set from a truncated SVD of W. Subclasses give the directions of both factors.
    """

    every: int = 0
    """Steps from one decomposition to the next; 0: only before the first step."""
    steps: Tensor
    """Number of learning steps that have begun, 0-dim."""
    copies: bool = False
    """Whether the factors are set from a decomposition of W, which transports weights."""

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
                factors = truncated(params[key], p.weight.shape[1], self.gen)
                p.program(factors.p, gen)
                q.program(factors.q, gen)
        return super().return_weights(name, params, gen)

    def work_of(self, served: ServedLayer, m: MapWork, rank: int) -> list[PhaseFlop]:
        return [PhaseFlop("adaptation", truncated_flop(m.n_out, m.n_in, rank), self.every)] if self.copies else []


class LDFALocal(LDFA, name="ldfa_local"):
    """Low-rank feedback P Q whose factors learn from the change of W, dP = dW Q^T and dQ = P^T dW: Kolen-Pollack twice.

    B = P Q are the return weights beside W. With x the layer's input and delta the error at its affine output, dW Q^T =
    sum delta (Q x)^T and P^T dW = sum (P^T delta) x^T: each factor learns from signals at both of its sides. P Q does
    not settle at W: where weight decay d balances the gradient, dW = -d W, the factors have to fulfil P = W Q^T and Q =
    P^T W, so Q = Q W^T W. A singular direction of W stays in P Q only where its singular value is 1; it dies out below
    1 and grows above. P Q so turns towards the leading directions of W, without their size.

    Args:
        rank: r, at least 1; at most min(n_out, n_in) of each map.
        init: ``random``, or ``svd``: the factors start as the truncated SVD of the initial weights, as in the authors'
            code; that copies the weights once, so that the rule is then not local.
        only: names of the layers whose rank is r; the others have full rank. None: all.
        feedback: distribution and device of both factors.
        error: number format of the output error before it is returned.
        clamp: largest magnitude of an element of a delivered error, as gradient of the batch's mean loss; None: none.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v4, the synapse-local rule, as in the first author's code"
    recommended = Recommended(dense="adam(lr=0.001)", convolutional="adam(lr=0.003)")

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

    def work_of(self, served: ServedLayer, m: MapWork, rank: int) -> list[PhaseFlop]:
        return [*super().work_of(served, m, rank), PhaseFlop("adaptation", 2 * along_flop(m, rank))]


class LDFANormative(LDFA, name="ldfa_normative"):
    """Low-rank feedback P Q that descends |P Q - W|^2 / 2 and is periodically replaced by the truncated SVD of W.

    P Q are the return weights beside W, with dP = -(P Q - W) Q^T and dQ = -P^T (P Q - W). The rule reads the weights:
    it reduces computation but is not local.

    Args:
        rank: r, at least 1; at most min(n_out, n_in) of each map.
        every: steps from one decomposition W = U S V^T, P = U sqrt(S), Q = sqrt(S) V^T, to the next; half an epoch in
            the authors' code. 0: only before the first step.
        rate: step of the descent in units of the learning rate (without effect under Adam).
        limit: largest magnitude of an element of dP and of dQ.
        only: names of the layers whose rank is r; the others have full rank. None: all.
        feedback: device of both factors.
        error: number format of the output error before it is returned.
        clamp: largest magnitude of an element of a delivered error, as gradient of the batch's mean loss; None: none.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v4, the normative rule, as in the first author's code"
    recommended = Recommended(dense="adam(lr=0.003)")
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
        residual = back.dense() - view.params[key]
        # directions are divided by B later; the gradient of |P Q - W|^2 / 2 is no sum over the batch
        scale = self.rate * len(view.x)
        return {
            P + key: _limited(along_q(back, residual), self.limit) * scale,
            Q + key: _limited(along_p(back, residual), self.limit) * scale,
        }

    def work_of(self, served: ServedLayer, m: MapWork, rank: int) -> list[PhaseFlop]:
        # P Q, (P Q - W) Q^T and P^T (P Q - W): the same number whatever the batch
        return [*super().work_of(served, m, rank), PhaseFlop("adaptation", 6 * rank * m.n_out * m.n_in)]


def _limited(direction: Direction, limit: float) -> Tensor:
    assert isinstance(direction, Tensor)
    return direction.clamp(-limit, limit)


def truncated(weight: Tensor, rank: int, gen: torch.Generator | None) -> LowRank:
    """Return the r leading terms of W = U S V^T as P = U sqrt(S) and Q = sqrt(S) V^T, by a randomised SVD.

    Args:
        weight: (n_out, n_in) or (C_out, C_in, k, k).
        rank: r.
        gen: source of the random projection, on the CPU.

    Returns:
        P (n_out, r) and Q (r, n_in), or Q (r, C_in, k, k).

    Source: Halko, Martinsson and Tropp 2011, SIAM Rev. 53, 217.
    """
    w = weight.detach().flatten(1)
    width = min(rank + OVERSAMPLED, *w.shape)
    start = torch.randn(w.shape[1], width, generator=gen, dtype=w.dtype).to(w.device)
    # power iterations raise S to the power 2 PASSES + 1, which separates the leading terms from the rest
    basis = torch.linalg.qr(w @ start)[0]
    for _ in range(PASSES):
        basis = torch.linalg.qr(w @ torch.linalg.qr(w.t() @ basis)[0])[0]
    u, s, v = torch.linalg.svd(basis.t() @ w, full_matrices=False)
    root = s[:rank].sqrt()
    return LowRank((basis @ u[:, :rank]) * root, (root[:, None] * v[:rank]).view(rank, *weight.shape[1:]))


def truncated_flop(n_out: int, n_in: int, rank: int) -> int:
    """Return the FLOP of the products in :func:`truncated`; its QR and SVD are not counted.

    Args:
        n_out: rows of W.
        n_in: columns of W, flattened.
        rank: r.
    """
    width = min(rank + OVERSAMPLED, n_out, n_in)
    return 2 * n_out * n_in * width * (2 + 2 * PASSES) + 2 * n_out * width * min(rank, width)
