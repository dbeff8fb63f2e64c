"""Restricted adaptive feedback: errors projected on the few principal directions that Oja's rule finds."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Plastic, Teaching
from neurofa.core.directions import Direction, Directions, LowRank
from neurofa.core.feedback import Feedback
from neurofa.core.products import MapWork, PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.view import LocalView
from neurofa.families.low_rank import LowRankChained, P, Q, along_flop, along_p, oja, standardised


class RAF(LowRankChained, name="raf"):
    """Restricted adaptive feedback (LDFA in the first versions): B = P Q, P by Oja on the errors, Q by Kolen-Pollack.

    B are the return weights beside forward weights W. dQ = P^T dW, so that P Q converges to P P^T W while P is
    constant. dP = C P - P P^T C P with C = Z^T Z, where Z are the errors (centred, in units of the largest standard
    deviation of an element); P converges to their principal directions. For the return weights of the readout Z are the
    targets. At the fixed point of P the returned error is that of backpropagation restricted to its r leading
    components.

    Q takes the optimizer's steps, as W does; the same decay of both removes the initial values of Q. P takes steps of
    its own, P <- P + step (C P - P P^T C P) / tr C, whatever the optimizer: Oja's rule diverges where a step times the
    leading eigenvalue of C exceeds 1 or so, and the trace bounds that eigenvalue. In the paper's code an optimizer that
    normalises each step (Adam) has that part. With ``step=None`` P takes the optimizer's steps too; with plain SGD, lr
    times ``oja`` times the leading eigenvalue of C/B then has to stay below 1. On a pulsed device with asymmetric steps
    a large step adds more noise to P than alignment: use a smaller one.

    Args:
        rank: r, at least 1; at most min(n_out, n_in) of each map.
        p: ``oja``, ``fixed`` (only Q learns), or ``identity`` (full rank: Q is then the return weight of kp).
        q: ``kp`` or ``fixed`` (with p=fixed: feedback alignment of low rank).
        step: of P, 0 to 1; None: that of the optimizer.
        oja: learning rate of P in units of the optimizer's, with ``step=None``.
        only: names of the layers whose rank is r; the others have full rank. None: all.
        feedback: distribution and device of both factors.
        error: number format of the output error before it is returned.
        clamp: largest magnitude of an element of a delivered error, as gradient of the batch's mean loss; None: none.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3, as in the first author's code"
    revision = 2
    recommended = Recommended(convolutional="adam(lr=0.003)")

    def __init__(
        self,
        *,
        rank: int = 10,
        p: str = "oja",
        q: str = "kp",
        step: float | None = 0.03,
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
        if step is not None and not 0 < step < 1:
            raise NeurofaError(f"got raf(step={step}); expected between 0 and 1, or None; 0.03 is the default")
        self.p, self.q, self.step, self.oja = p, q, step, oja

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
        factors: Directions = {}
        if self.q == "kp":
            factors[Q + key] = along_p(back, direction)
        if self.p == "oja":
            errors = self._errors(name, key, view)
            if errors is None:
                return factors  # a map that the pass did not use
            z = standardised(errors.to(back.p.dtype))
            # the trace of C = Z^T Z is the sum of its eigenvalues
            size = self.oja if self.step is None else self.step / z.square().sum().clamp_min(1e-12)
            factors[P + key] = oja(back.p, z) * size
        return factors

    def plastic(self, name: str) -> dict[str, Plastic]:
        weights = super().plastic(name)
        if self.step is None:
            return weights
        return {key: part._replace(own_step=True) if key.startswith(P) else part for key, part in weights.items()}

    def _errors(self, name: str, key: str, view: LocalView) -> Tensor | None:
        """Return the errors at the output of one map, with its outputs as the last axis; None: it was not used."""
        if name == self.plan.readout.name:
            return self._target
        if key in view.inner:
            return view.inner[key]
        return None if view.delta is None else view.delta.movedim(1, -1)  # in a layer of one map

    def work_of(self, served: ServedLayer, m: MapWork, rank: int) -> list[PhaseFlop]:
        found = [PhaseFlop("adaptation", along_flop(m, rank))] if self.q == "kp" else []
        if self.p == "oja":
            seen = served.batch if served.readout else m.rows
            found.append(PhaseFlop("adaptation", 4 * m.n_out * rank * (seen + rank)))
        return found
