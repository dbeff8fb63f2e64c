"""Spike-timing-dependent three-factor learning."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration
from neurofa.core.directions import Directions
from neurofa.core.dynamics import TRACE, Dynamics
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Direct
from neurofa.core.view import LocalView, State
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.temporal import Temporal, backprop_by, batch_of, check_dynamics

ACTIVE = TRACE + "neuron"
"""Name of the neuron's own trace in the state of a layer."""


class STLLR(Direct, name="stllr"):
    """S-TLLR: dW = sum_t L_t (a_post psi_t tr_in_t + a_pre tr_out_{t-1} x_t), L = B e.

    L_t is the output error e of tick t sent through a fixed random matrix B, x_t the input of the layer and psi_t the
    surrogate derivative of the neuron's spike. tr_in_t = l_pre tr_in_{t-1} + x_t is the trace of the input, tr_out_t =
    l_post tr_out_{t-1} + psi_t that of the neuron. The first term is causal, as in other three-factor rules; the second
    (anti-causal) counts inputs that arrive after the neuron was active. Both decays belong to the rule, not to the
    neuron. On layers without a memory the rule is direct feedback alignment.

    Args:
        post: a_post, weight of the causal term.
        pre: a_pre, weight of the anti-causal term; negative depresses.
        decay_in: l_pre, decay of the input trace per tick.
        decay_out: l_post, decay of the neuron's trace per tick.
        feedback: direct pathway, a spec or a module.
        error: number format of e before it enters the pathway.
    """

    source = "Apolinario and Roy 2025, arXiv 2306.15220 (with its DFA learning signal)"
    recommended = Recommended()

    def __init__(
        self,
        *,
        post: float = 1.0,
        pre: float = 0.2,
        decay_in: float = 0.9,
        decay_out: float = 0.75,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        for name, value in (("decay_in", decay_in), ("decay_out", decay_out)):
            if not 0 <= value < 1:
                raise NeurofaError(f"got stllr({name}={value}); expected at least 0 and below 1; change {name}")
        self.post, self.pre, self.decay_in, self.decay_out = post, pre, decay_in, decay_out

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, eligibility=self)

    def dynamics(self, name: str, layer: Temporal, view: LocalView) -> Dynamics:
        psi = as_ticks(layer.neuron.derivative(view.after, view.y), batch_of(layer, view))
        before, _ = self._follow(view, psi)
        # two memories per weight: the input trace, and the input of the tick alone, gated by tr_out_{t-1}
        return Dynamics([[self.decay_in, 0.0], [0.0, 0.0]], [1.0, before], [psi * self.post, self.pre])

    def carried(self, name: str, layer: Temporal, view: LocalView) -> State:
        psi = as_ticks(layer.neuron.derivative(view.after, view.y), batch_of(layer, view))
        return {ACTIVE: self._follow(view, psi)[1]}

    def _follow(self, view: LocalView, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Return the trace of the neuron before every tick, (K, B, n), and after the last, (B, n)."""
        trace = view.before.get(ACTIVE, torch.zeros_like(psi[0]))
        before = []
        for step in psi.unbind(0):
            before.append(trace)
            trace = trace * self.decay_out + step
        return torch.stack(before), trace

    def update(self, name: str, layer: Layer, view: LocalView) -> tuple[LocalView, Directions]:
        if name == self.plan.readout.name or not isinstance(layer, Temporal):
            return super().update(name, layer, view)
        assert view.error is not None
        dynamics = check_dynamics(layer, self.dynamics(name, layer, view), view)
        view = backprop_by(layer, view, view.error, dynamics)
        return view, layer.pullback(view)
