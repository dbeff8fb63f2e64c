"""Restricted adaptive feedback: error of low dimension, in directions that Oja's rule finds."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Teaching
from neurofa.core.directions import Direction, Directions, LowRank
from neurofa.core.feedback import Feedback
from neurofa.core.products import MapWork, PhaseFlop, ServedLayer
from neurofa.core.view import LocalView
from neurofa.families.low_rank import LowRankChained, P, Q, along_flop, along_p, oja, standardised


class RAF(LowRankChained, name="raf"):
    """Restricted adaptive feedback (LDFA of the first texts): B = P Q, P by Oja on the errors, Q by Kolen-Pollack.

    Q follows dQ = P^T dW, so that P Q goes to P P^T W while P stands still. P follows the principal directions of the
    errors Z (centred, in units of the largest standard deviation of an element) by dP = C P - P P^T C P, C = Z^T Z;
    beside the readout Z are the targets. At the fixed point of P the error that returns is what backpropagation would
    return of its r leading components.

    Both factors take the optimizer's steps; matching decay set there is what lets Q forget its start. Oja's rule needs
    small steps: with plain SGD, lr times ``oja`` times the leading eigenvalue of C/B has to stay below 1; an optimizer
    that scales each step (Adam), as in the paper's code, does not care. On a pulsed device with unequal steps a large
    ``oja`` costs P more in noise than it gains: take less there.

    Args:
        rank: r, at least 1; at most min(n_out, n_in) of each map.
        p: ``oja``, ``fixed`` (Q alone learns), or ``identity`` (full rank: Q is then the return weight of kp).
        q: ``kp`` or ``fixed`` (with p=fixed: feedback alignment of low rank).
        oja: size of the steps of P in units of the learning rate.
        only: names of the layers whose rank is r; the others have full rank. None: all.
        feedback: distribution and device of both factors.
        error: number format of the output error before it is returned.
        clamp: largest size of an element of a delivered error, in units of the batch's mean loss; None: no limit.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, as in the first author's code"

    def __init__(
        self,
        *,
        rank: int = 10,
        p: str = "oja",
        q: str = "kp",
        oja: float = 1.0,
        only: list[str] | None = None,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
        clamp: float | None = None,
    ) -> None:
        super().__init__(rank=rank, only=only, feedback=feedback, error=error, clamp=clamp)
        if p not in ("oja", "fixed", "identity"):
            raise NeurofaError(f"got raf(p={p}); expected oja, fixed or identity; choose one")
        if q not in ("kp", "fixed"):
            raise NeurofaError(f"got raf(q={q}); expected kp or fixed; choose one")
        if not oja > 0:
            raise NeurofaError(f"got raf(oja={oja}); expected a positive number; 1 is the default")
        self.p, self.q, self.oja = p, q, oja

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, target=self.p == "oja")

    def rank_of(self, name: str, key: str, shape: tuple[int, ...]) -> int:
        return shape[0] if self.p == "identity" else super().rank_of(name, key, shape)

    def start_p(self, shape: tuple[int, int]) -> Tensor | None:
        return torch.eye(shape[0]) if self.p == "identity" else None

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        self._target = teaching.target

    def learning(self) -> tuple[str, ...]:
        return (*((P,) if self.p == "oja" else ()), *((Q,) if self.q == "kp" else ()))

    def learn(self, name: str, key: str, back: LowRank, view: LocalView, direction: Direction) -> Directions:
        found: Directions = {}
        if self.q == "kp":
            found[Q + key] = along_p(back, direction)
        if self.p == "oja":
            seen = self._target if name == self.plan.readout.name else view.inner.get(key, view.delta)
            assert seen is not None
            found[P + key] = oja(back.p, standardised(seen.to(back.p.dtype))) * self.oja
        return found

    def work_of(self, served: ServedLayer, m: MapWork, rank: int) -> list[PhaseFlop]:
        found = [PhaseFlop("adaptation", along_flop(m, rank))] if self.q == "kp" else []
        if self.p == "oja":
            seen = served.batch if served.readout else m.rows
            found.append(PhaseFlop("adaptation", 4 * m.n_out * rank * (seen + rank)))
        return found
