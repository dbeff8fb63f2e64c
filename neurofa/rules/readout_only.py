"""Random features: the control that every rule has to beat."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from neurofa.core.capabilities import Declaration, SequenceLearning, Teaching, WorkCount
from neurofa.core.description import PathDescription
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.rule import Rule


class ReadoutOnly(Rule, WorkCount, name="readout_only"):
    """Only the readout learns; hidden layers stay as they were drawn. A rule that stays below has learnt nothing."""

    source = "the shallow control of Refinetti et al. 2021, arXiv 2011.12428"

    def __init__(self) -> None:
        super().__init__()

    @cached_property
    def declares(self) -> Declaration:
        return Declaration(work=self, path=self, plasticity="fixed", sequences=SequenceLearning(remembers=False))

    def describe_path(self) -> PathDescription:
        """Return that no error leaves the readout."""
        return PathDescription(kind="readout")

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        return None

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        return super().work_at(served) if served.readout else []
