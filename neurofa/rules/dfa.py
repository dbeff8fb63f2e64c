"""Direct feedback alignment and its error encodings."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import recipe
from neurofa.core.capabilities import Declaration, SequenceLearning, calibrated, check_calibrate
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Direct


class DFA(Direct, name="dfa"):
    """Direct feedback alignment: delta_l = (B_l^T e) * f'(a_l) with fixed random B_l.

    e is the output error, a_l the input of the activation f of hidden layer l, and delta_l the error from which the
    weights of the layer learn.

    Args:
        feedback: direct pathway, a spec or a module.
        error: number format of e before it enters the pathway (``sign``, ``ternary``, ``uniform(bits=4)``).
        frozen: names of hidden layers that do not learn (a control that measures their contribution); None: none.
        calibrate: steps from one step of backpropagation to the next (a control of grape2026); 0: none. With such steps
            the rule is not local.
        filtered: whether errors reach hidden layers through the filter of a leaky readout (sequences: e-prop).
    """

    source = "Nokland 2016, arXiv 1609.01596"
    recommended = Recommended(dense="sgd(lr=0.3)")

    def __init__(
        self,
        *,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
        frozen: list[str] | None = None,
        calibrate: int = 0,
        filtered: bool = False,
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        self.frozen = frozenset(frozen or ())
        self.calibrate, self.filtered = check_calibrate(self.name, calibrate), filtered

    @cached_property
    def declares(self) -> Declaration:
        own = replace(super().declares, sequences=SequenceLearning(filtered=self.filtered), plasticity="fixed")
        return calibrated(own, self.calibrate)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        names = [site.name for site in plan.hidden]
        for name in sorted(self.frozen.difference(names)):
            raise NeurofaError(f"got dfa(frozen=[{name}]); expected some of {', '.join(names)}; change frozen")
        super().bind(plan, gen)


@recipe(
    "rule",
    "sdfa",
    source="Frenkel, Lefebvre and Bol 2021, arXiv 1909.01311 (sDFA)",
    # one bit an output does not shrink with the error: layers of rectifiers bear small steps only
    recommended=Recommended(dense="adam(lr=0.003)", convolutional="adam(lr=0.0002)"),
)
def sdfa(*, feedback: Feedback | str = "dense", error: Format | str = "sign") -> DFA:
    """Direct feedback alignment of the sign of the error: one bit for each output."""
    return DFA(feedback=feedback, error=error)


@recipe(
    "rule",
    "tdfa",
    source="Launay et al. 2020, arXiv 2006.01475",
    recommended=Recommended(dense="sgd(lr=0.3)", convolutional="adam(lr=0.0002)"),
)
def tdfa(*, feedback: Feedback | str = "dense", error: Format | str = "ternary") -> DFA:
    """Direct feedback alignment of the ternary error: one trit (-1, 0 or 1) for each output."""
    return DFA(feedback=feedback, error=error)


@recipe(
    "rule",
    "eprop",
    source="Bellec et al. 2020, Nature Communications 11, 3625 (random feedback)",
    recommended=Recommended(),
)
def eprop(*, feedback: Feedback | str = "dense", error: Format | str = "raw", filtered: bool = True) -> DFA:
    """E-prop with random feedback: dW = sum_t (B e)_t times the eligibility, filtered as the readout filters spikes.

    (B e)_t is the output error of tick t, sent through a fixed random matrix; the eligibility is the derivative of a
    neuron's spike by the weight through the neuron's own memory. Without the filter the rule is direct feedback
    alignment on spikes, tick by tick, and needs less memory. If a trace depends on the filter or on the neuron's own
    state, every weight has a trace, (B, n_out, n_in). On a network without time the rule is direct feedback alignment.

    Args:
        feedback: direct pathway, a spec or a module.
        error: number format of e before it enters the pathway.
        filtered: whether eligibility passes the filter of a leaky readout, as in the gradient.
    """
    return DFA(feedback=feedback, error=error, filtered=filtered)
