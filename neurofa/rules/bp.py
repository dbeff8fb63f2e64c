"""Backpropagation: the control."""

from __future__ import annotations

import torch

from hwmodels.registry import recipe
from neurofa.core.description import PathDescription
from neurofa.core.layer import Params
from neurofa.core.plan import Plan
from neurofa.core.rule import Chained


class BP(Chained, name="bp"):
    """Backpropagation: every layer returns its error through its own forward weights. A control, not local."""

    source = "Rumelhart, Hinton and Williams 1986"
    local = False
    transports = "weights"
    plasticity = "fixed"

    def __init__(self) -> None:
        super().__init__()

    def _bind(self, plan: Plan, gen: torch.Generator) -> None:
        """Nothing to create: the pathway is the network itself."""

    def describe(self) -> PathDescription:
        return PathDescription(kind="chained", plasticity=self.plasticity, returns={}, tied="weights")

    def returns(self, name: str, params: Params, gen: torch.Generator | None) -> Params | None:
        return params


@recipe("rule", "eprop_symmetric", source="Bellec et al. 2020, Nature Communications 11, 3625 (symmetric e-prop)")
def eprop_symmetric(*, filtered: bool = True) -> BP:
    """Symmetric e-prop: learning signals return through the forward weights, at the same tick; online, but not local.

    With one hidden layer it is the gradient of the loss but for what neurons do to each other through time.

    Args:
        filtered: whether eligibility passes the filter of a leaky readout, as in the gradient.
    """
    rule = BP()
    rule.filtered = filtered
    return rule


@recipe("rule", "ostl", source="Bohnstingl et al. 2022, IEEE TNNLS, arXiv 2007.12723 (OSTL); Xiao et al. 2022 (OTTT)")
def ostl() -> BP:
    """Online spatio-temporal learning: exact eligibility inside every layer, backpropagation between layers at a tick.

    On LIF neurons, whose eligibility is a trace of the input, it is online training through time (OTTT).
    """
    return BP()
