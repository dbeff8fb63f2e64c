"""Backpropagation through time: the control for sequences."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch

from neurofa.core.capabilities import Declaration, SequenceLearning
from neurofa.core.description import PathDescription
from neurofa.core.directions import ReturnWeights
from neurofa.core.plan import Plan
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Chained, Rule
from neurofa.core.view import Params


class BPTT(Chained, name="bptt"):
    """Backpropagation through all ticks and layers, with surrogate derivatives. A control, neither local nor online.

    The views of all ticks of a sequence are kept, whatever the chunk. Resets are constants, as in snnTorch. On a
    network without time the rule is backpropagation.
    """

    source = "Neftci, Mostafa and Zenke 2019, IEEE Signal Processing Magazine, arXiv 1901.09948"
    recommended = Recommended()

    def __init__(self) -> None:
        super().__init__()

    @cached_property
    def declares(self) -> Declaration:
        sequences = SequenceLearning(through_time=True)
        own = super().declares
        return replace(own, local=False, transports="weights", sequences=sequences)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        """Store the plan; no pathway is drawn, since the forward weights return the error."""
        Rule.bind(self, plan, gen)

    def describe_path(self) -> PathDescription:
        return PathDescription(kind="chained", returns={}, tied="weights")

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        return params
