"""Random features: the control that every rule has to beat."""

from __future__ import annotations

from torch import Tensor

from neurofa.core.description import PathDescription
from neurofa.core.products import At, Item
from neurofa.core.rule import Rule, Teaching


class ReadoutOnly(Rule, name="readout_only"):
    """Only the readout learns; hidden layers stay as they were drawn. A rule that stays below has learnt nothing."""

    remembers = False
    source = "the shallow control of Refinetti et al. 2021, arXiv 2011.12428"
    plasticity = "fixed"

    def __init__(self) -> None:
        super().__init__()

    def describe(self) -> PathDescription:
        return PathDescription(kind="readout", plasticity=self.plasticity)

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        return None

    def work_at(self, at: At) -> list[Item]:
        return super().work_at(at) if at.readout else []
