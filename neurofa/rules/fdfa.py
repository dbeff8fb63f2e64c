"""Forward direct feedback alignment: B is a moving average of estimates of the network's Jacobian."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import By, Perturbation
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.core.recommended import Recommended
from neurofa.families.jacobian_tracking import Aligning


class FDFA(Aligning, name="fdfa"):
    """Forward DFA: B_l <- (1 - alpha) B_l + alpha mean(delta_l u^T), a moving average of the transposed Jacobian.

    delta_l is a random change of the output h_l of hidden layer l, u the change of the network's output that all these
    changes cause; the mean is over samples. B_l, (n_l, o), sends the output error e to the layer.

    Args:
        alpha: weight of a new estimate, above 0 and at most 1.
        zero: start from B = 0, as the authors do; else from the drawn feedback.
        space: perturbed quantity: ``activity``, ``weight``, or ``smaller``: for each layer that of fewer dimensions.
        per_layer: one probe per layer instead of one shared probe.
        by: ``tangent`` (forward-mode derivatives) or ``difference`` (of two passes).
        step: size of the change in a difference.
        program: steps from one write-verify of B to the next; in between B is tracked in digital memory. 0: B's device
            receives the change of every step as an update, which coarse devices round away and noisy ones bury.
        feedback: direct pathway; it must have a matrix per layer.
        error: number format of e before it enters the pathway.
    """

    source = "Bacho and Chu 2024, Neural Networks, arXiv 2212.07282 (with a plain moving average instead of Adam)"
    recommended = Recommended()

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
        perturbation = Perturbation(by, step, per_layer)
        super().__init__(space, perturbation, window=1, program=program, feedback=feedback, error=error)
        if not 0 < alpha <= 1:
            raise NeurofaError(f"got fdfa(alpha={alpha}); expected above 0 and at most 1; 0.01 is the default")
        self.alpha, self.zero = alpha, zero

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        if self.zero:
            self.begin_at(torch.zeros_like(self.b), gen)

    def update_feedback(self, b: Tensor, estimate: Tensor, gen: torch.Generator | None) -> Tensor:
        return b.lerp(estimate, self.alpha)  # (1 - alpha) B + alpha estimate
