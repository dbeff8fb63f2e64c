"""Direct random target projection."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from torch import Tensor

from hwmodels.format import Format
from hwmodels.registry import recipe
from neurofa.core.capabilities import Declaration, Teaching
from neurofa.core.description import PathDescription
from neurofa.core.feedback import Feedback
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Direct


class DRTP(Direct, name="drtp"):
    """Direct random target projection: delta_l = (B_l^T y*) * f'(a_l), from the target y* alone.

    B_l is fixed and random, a_l the input of the activation f of hidden layer l, and delta_l the error from which the
    weights of the layer learn. Hidden layers need no error and may learn during the forward pass. The sign of B has no
    meaning.

    Args:
        feedback: direct pathway, a spec or a module.
        error: number format of y* before it enters the pathway.
        centred: project y* minus its mean over the outputs. For one-hot targets this is minus the error of the
            cross-entropy at uniform outputs. It removes the component common to all classes, which would drive a neuron
            in one direction without limit. Not in the source.
    """

    source = "Frenkel, Lefebvre and Bol 2021, arXiv 1909.01311"
    recommended = Recommended(dense="adam(lr=0.003)", convolutional="adam(lr=0.0003)", spiking="adam(lr=0.01)")

    def __init__(
        self, *, feedback: Feedback | str = "dense", error: Format | str = "raw", centred: bool = False
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        self.centred = centred

    @cached_property
    def declares(self) -> Declaration:
        # the exported formats cannot express a centred target, so that no step is written out
        return replace(super().declares, target=True, plasticity=None if self.centred else "fixed")

    def describe_path(self) -> PathDescription:
        return replace(super().describe_path(), signal="target")

    def signal(self, teaching: Teaching) -> Tensor:
        target = teaching.target
        return target - target.mean(1, keepdim=True) if self.centred else target


@recipe(
    "rule",
    "etlp",
    source="Quintana et al. 2024, Neuromorphic Computing and Engineering, arXiv 2301.08281",
    recommended=Recommended(dense="adam(lr=0.003)", convolutional="adam(lr=0.0003)", spiking="adam(lr=0.01)"),
)
def etlp(*, feedback: Feedback | str = "dense", error: Format | str = "raw") -> DRTP:
    """Event-based three-factor local plasticity: input trace times surrogate derivative times B y* at taught ticks.

    Taught ticks are those that ``teach`` of :meth:`~neurofa.training.learner.Learner.stream` selects. On a network
    without time the rule is direct random target projection.

    Args:
        feedback: direct pathway, a spec or a module.
        error: number format of y* before it enters the pathway.
    """
    return DRTP(feedback=feedback, error=error)
