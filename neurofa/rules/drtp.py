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
from neurofa.core.rule import Direct


class DRTP(Direct, name="drtp"):
    """Direct random target projection: delta_l = (B_l^T y*) * f'(a_l), from the target alone.

    No error is awaited: hidden layers may learn while the forward pass goes on. The sign of B carries no meaning.

    Args:
        feedback: the pathway.
        error: number format of y* before it enters the pathway.
        centred: send y* less its mean over the outputs. Of one-hot targets that is what the error of the cross-entropy
            is before anything is learnt, up to its sign; what all classes share, and would drive a neuron one way for
            ever, is gone. Not in the source.
    """

    source = "Frenkel, Lefebvre and Bol 2021, arXiv 1909.01311"

    def __init__(
        self, *, feedback: Feedback | str = "dense", error: Format | str = "raw", centred: bool = False
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        self.centred = centred

    @cached_property
    def declares(self) -> Declaration:
        # no file has a word for a target without its mean: no step is written out
        return replace(super().declares, target=True, plasticity=None if self.centred else "fixed")

    def describe_path(self) -> PathDescription:
        return replace(super().describe_path(), signal="target")

    def signal(self, teaching: Teaching) -> Tensor:
        target = teaching.target
        return target - target.mean(1, keepdim=True) if self.centred else target


@recipe("rule", "etlp", source="Quintana et al. 2024, Neuromorphic Computing and Engineering, arXiv 2301.08281")
def etlp(*, feedback: Feedback | str = "dense", error: Format | str = "raw") -> DRTP:
    """Event-based three-factor local plasticity: a trace of the input, the surrogate derivative, and B y* when taught.

    Targets count at the ticks that are taught (``teach`` of :meth:`~neurofa.training.learner.Learner.stream`). On a
    network without time it is direct random target projection.

    Args:
        feedback: the pathway.
        error: number format of y* before it enters the pathway.
    """
    return DRTP(feedback=feedback, error=error)
