"""Backpropagation through time: the control for spiking networks."""

from __future__ import annotations

import torch

from neurofa.core.description import PathDescription
from neurofa.core.layer import Params
from neurofa.core.plan import Plan
from neurofa.core.rule import Chained


class BPTT(Chained, name="bptt"):
    """Backpropagation through all ticks and layers, with surrogate derivatives. A control, neither local nor online.

    It keeps every tick of a sequence, whatever the chunk; resets are constants, as in snnTorch. On a network without
    time it is backpropagation.
    """

    source = "Neftci, Mostafa and Zenke 2019, IEEE Signal Processing Magazine, arXiv 1901.09948"
    local = False
    transports = "weights"
    through_time = True

    def __init__(self) -> None:
        super().__init__()

    def _bind(self, plan: Plan, gen: torch.Generator) -> None:
        """Nothing to create: the pathway is the network itself."""

    def describe(self) -> PathDescription:
        return PathDescription(kind="chained", returns={}, tied="weights")

    def returns(self, name: str, params: Params, gen: torch.Generator | None) -> Params | None:
        return params
