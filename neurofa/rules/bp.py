"""Backpropagation: the control."""

from __future__ import annotations

import torch

from neurofa.layer import Params
from neurofa.network import Plan
from neurofa.rule import Chained


class BP(Chained, name="bp"):
    """Backpropagation: every layer returns its error through its own forward weights. A control, not local."""

    source = "Rumelhart, Hinton and Williams 1986"
    local = False
    transports = "weights"

    def __init__(self) -> None:
        super().__init__()

    def _bind(self, plan: Plan, gen: torch.Generator) -> None:
        """Nothing to create: the pathway is the network itself."""

    def returns(self, name: str, params: Params, gen: torch.Generator | None) -> Params | None:
        return params
