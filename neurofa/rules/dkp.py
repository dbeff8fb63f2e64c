"""Direct Kolen-Pollack learning of the feedback."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Plastic
from neurofa.core.directions import Directions, Outer
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Direct
from neurofa.core.view import LocalView


class DKP(Direct, name="dkp"):
    """Direct Kolen-Pollack: B_l learns as if it were the readout of layer l, dB_l = h_l e^T, with matching decay.

    B_l, (n_l, o), sends the output error e to hidden layer l, whose output is h_l; dB_l is summed over the batch.

    Args:
        decay: weight decay of the rule, for weights and feedback alike.
        rate: learning rate of B in units of the layer's learning rate.
        feedback: initial pathway; it must have a matrix per layer.
        error: number format of e before it enters the pathway.
    """

    source = "Webster, Choi and Ahn 2021, arXiv 2012.02966"
    recommended = Recommended()

    def __init__(
        self,
        *,
        decay: float = 1e-4,
        rate: float = 0.1,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        if decay < 0 or rate <= 0:
            raise NeurofaError(f"got dkp(decay={decay}, rate={rate}); expected decay >= 0 and rate > 0; change it")
        self.decay, self.rate = decay, rate

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, plastic=self, plasticity="kolen_pollack")

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        if self.feedback.matrix() is None:
            raise NeurofaError(
                f"got feedback '{self.feedback.name}' for dkp; expected a matrix per layer that can learn; use dense"
            )

    def adapt(self, name: str, view: LocalView, directions: Directions) -> Directions:
        if name not in self.feedback.slices:
            return {}
        # scaled here, since the optimizer has one learning rate for the weights and the B of a layer
        return {"b": Outer(self.feedback.rows_of(name, view.y).flatten(1), self.sent * self.rate)}

    def plastic(self, name: str) -> dict[str, Plastic]:
        matrix = self.feedback.matrix()
        if matrix is None or name not in self.feedback.slices:
            return {}
        return {"b": Plastic(matrix, self.feedback.slices[name])}

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        learnt = 2 * served.batch * served.width * served.outputs if served.name in self.feedback.slices else 0
        return [*super().work_at(served), PhaseFlop("adaptation", learnt)]
