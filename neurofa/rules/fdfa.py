"""Forward direct feedback alignment: the matrix is a moving average of the network's Jacobian."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import By
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.families.jacobian_tracking import Aligning


class FDFA(Aligning, name="fdfa"):
    """B_l <- (1 - alpha) B_l + alpha mean(delta_l u^T), u the change of the logits for changes delta_l of h_l.

    Args:
        alpha: share of a new estimate, above 0 and at most 1.
        zero: begin with B = 0, as the authors do; else as the feedback is drawn.
        space: what is perturbed: ``activity``, ``weight``, or ``smaller``: for each layer that of fewer dimensions.
        per_layer: a probe for every layer instead of one that is shared.
        by: ``tangent`` (forward-mode derivatives) or ``difference`` (of two passes).
        step: size of the change in a difference.
        program: steps from one write-verify of B to the next; between them B follows in digital memory. 0: every step's
            change goes to B's device as an update, which coarse or noisy devices lose or drown.
        feedback: the pathway; it must have a matrix per layer.
        error: number format of e before it enters the pathway.
    """

    source = "Bacho and Chu 2024, Neural Networks, arXiv 2212.07282 (with a plain moving average instead of Adam)"

    def __init__(
        self,
        *,
        alpha: float = 0.01,
        zero: bool = True,
        space: str = "activity",
        per_layer: bool = False,
        by: By = "tangent",
        step: float = 0.01,
        program: int = 0,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(
            space=space, per_layer=per_layer, by=by, step=step, window=1, program=program, feedback=feedback,
            error=error,
        )  # fmt: skip
        if not 0 < alpha <= 1:
            raise NeurofaError(f"got fdfa(alpha={alpha}); expected above 0 and at most 1; 0.01 is the default")
        self.alpha, self.zero = alpha, zero

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        if self.zero:
            self.begin_at(torch.zeros_like(self.b), gen)

    def update_feedback(self, b: Tensor, estimate: Tensor, gen: torch.Generator | None) -> Tensor:
        return b.lerp(estimate, self.alpha)
