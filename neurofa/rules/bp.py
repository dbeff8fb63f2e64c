"""Backpropagation and its online forms for sequences: controls whose errors return through the forward weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch

from hwmodels.registry import recipe
from neurofa.core.capabilities import Declaration, SequenceLearning
from neurofa.core.description import PathDescription
from neurofa.core.directions import ReturnWeights
from neurofa.core.plan import Plan
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Chained, Rule
from neurofa.core.view import Params


class BP(Chained, name="bp"):
    """Backpropagation: every layer returns its error through its own forward weights. A control, not local.

    Args:
        filtered: whether errors reach hidden layers through the filter of a leaky readout (sequences: e-prop).
    """

    source = "Rumelhart, Hinton and Williams 1986"
    recommended = Recommended(spiking="adam(lr=0.003)")

    def __init__(self, *, filtered: bool = False) -> None:
        super().__init__()
        self.filtered = filtered

    @cached_property
    def declares(self) -> Declaration:
        sequences = SequenceLearning(filtered=self.filtered)
        own = super().declares
        return replace(own, local=False, transports="weights", sequences=sequences, plasticity="fixed")

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        """Store the plan; no pathway is drawn, since the forward weights return the error."""
        Rule.bind(self, plan, gen)

    def describe_path(self) -> PathDescription:
        return PathDescription(kind="chained", returns={}, tied="weights")

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        return params


@recipe(
    "rule",
    "eprop_symmetric",
    source="Bellec et al. 2020, Nature Communications 11, 3625 (symmetric e-prop)",
    recommended=Recommended(spiking="adam(lr=0.003)"),
)
def eprop_symmetric(*, filtered: bool = True) -> BP:
    """Symmetric e-prop: learning signals return through the forward weights at the same tick; online, but not local.

    With one hidden layer it is the gradient of the loss without the paths from neuron to neuron through time.

    Args:
        filtered: whether eligibility passes the filter of a leaky readout, as in the gradient.
    """
    return BP(filtered=filtered)


@recipe(
    "rule",
    "ostl",
    source="Bohnstingl et al. 2022, IEEE TNNLS, arXiv 2007.12723 (OSTL); Xiao et al. 2022 (OTTT)",
    recommended=Recommended(spiking="adam(lr=0.003)"),
)
def ostl() -> BP:
    """Online spatio-temporal learning: eligibility within a layer, backpropagation between layers in each tick.

    The eligibility is exact through each neuron's own memory. In one hidden layer without recurrent weights, below a
    readout without a memory, the rule is the gradient through time. Paths through recurrent weights are cut, as is the
    memory of layers above: with recurrent weights the source needs a trace for every neuron and weight, of n^2 n_in
    numbers a sample, and what is left here is its block-diagonal form (cosine to the gradient 0.5 to 0.9 on small
    networks). For LIF neurons the eligibility is a trace of the input: the rule is then online training through time
    (OTTT).
    """
    return BP()
