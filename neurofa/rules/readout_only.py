"""Random features with a learnt readout: the control that every rule has to beat."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from neurofa.core.capabilities import Declaration, SequenceLearning, Teaching, WorkCount
from neurofa.core.description import PathDescription
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Rule


class ReadoutOnly(Rule, WorkCount, name="readout_only"):
    """Only the readout learns; hidden layers keep their initial weights. A rule has to exceed this accuracy."""

    source = "the shallow control of Refinetti et al. 2021, arXiv 2011.12428"
    recommended = Recommended(spiking="adam(lr=0.003)")

    def __init__(self) -> None:
        super().__init__()

    @cached_property
    def declares(self) -> Declaration:
        return Declaration(work=self, path=self, plasticity="fixed", sequences=SequenceLearning(remembers=False))

    def describe_path(self) -> PathDescription:
        return PathDescription(kind="readout")

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        return None

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        return super().work_at(served) if served.readout else []
