"""Spike-timing-dependent three-factor learning."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.format import Format
from hwmodels.registry import build
from neurofa.core.capabilities import Declaration
from neurofa.core.directions import Directions
from neurofa.core.dynamics import TRACE, Dynamics
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Direct
from neurofa.core.view import LocalView, State
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.surrogate import Surrogate
from neurofa.spiking.temporal import Temporal, backprop_by, batch_of, check_dynamics

ACTIVE = TRACE + "neuron"
"""Name of the neuron's own trace in the state of a layer."""


class PublishedFactors(NamedTuple):
    """Published settings of the rule, in the order of the authors' ``factors``."""

    decay_out: float
    decay_in: float
    pre: float
    post: float


PUBLISHED = {
    "default": PublishedFactors(0.5, 0.8, -0.2, 1.0),
    "dvs_gesture": PublishedFactors(0.2, 0.75, -1.0, 1.0),
    "cifar10_dvs": PublishedFactors(0.2, 0.5, -1.0, 1.0),
    "shd": PublishedFactors(0.5, 1.0, 1.0, 1.0),
}
"""Defaults of the authors' code, and their settings by data set."""
PSI_DENSE, PSI_CONV = "fast_sigmoid(slope=100)", "triangular(gamma=0.3)"
"""psi of the authors' dense (recurrent ones included) and convolutional layers."""
PSI_OF = {"cifar10_dvs": "sigmoid(slope=4)"}
"""psi of the authors' runs where it is another one."""


class STLLR(Direct, name="stllr"):
    """S-TLLR: dW = sum_t L_t (a_post psi_t tr_in_t + a_pre tr_out_{t-1} x_t), L = B e.

    L_t is the output error e of tick t sent through a fixed random matrix B, x_t the input of the layer and psi_t the
    surrogate derivative of the neuron's spike. tr_in_t = l_pre tr_in_{t-1} + x_t is the trace of the input, tr_out_t =
    l_post tr_out_{t-1} + psi_t that of the neuron. The first term is causal, as in other three-factor rules; the second
    (non-causal) counts inputs that arrive after the neuron was active. Both decays belong to the rule, not to the
    neuron. psi is the rule's own as well: 1/(100 |v| + 1)^2 of dense layers and 0.3 max(0, 1 - |v|) of convolutions, v
    the potential minus the threshold. On layers without a memory the rule is direct feedback alignment.

    ``published`` names the settings of the authors (post decay, pre decay, non-causal, causal): ``default``
    (0.5, 0.8, -0.2, 1), ``dvs_gesture`` (0.2, 0.75, -1, 1), ``cifar10_dvs`` (0.2, 0.5, -1, 1; psi = 4 s(1 - s), s the
    logistic function of 4 v), ``shd`` (0.5, 1, 1, 1). They teach in the last ticks only and mostly by errors through
    the forward weights; here errors come directly, in every tick that is taught.

    Args:
        published: settings that the next four options take where they are None.
        post: a_post, weight of the causal term.
        pre: a_pre, weight of the non-causal term; negative depresses.
        decay_in: l_pre, decay of the input trace per tick, 0 to 1.
        decay_out: l_post, decay of the neuron's trace per tick, 0 to 1.
        psi: surrogate derivative; None: the authors'. ``neuron``: the one of the neurons.
        feedback: direct pathway, a spec or a module.
        error: number format of e before it enters the pathway.
    """

    source = "Apolinario and Roy 2025, arXiv 2306.15220 (with its DFA learning signal); constants of the authors' code"
    revision = 2
    recommended = Recommended()

    def __init__(
        self,
        *,
        published: str = "default",
        post: float | None = None,
        pre: float | None = None,
        decay_in: float | None = None,
        decay_out: float | None = None,
        psi: Surrogate | str | None = None,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        if published not in PUBLISHED:
            raise NeurofaError(
                f"got stllr(published={published}); expected {', '.join(PUBLISHED)}"
                f"{did_you_mean(published, PUBLISHED)}; choose one"
            )
        given = {"post": post, "pre": pre, "decay_in": decay_in, "decay_out": decay_out}
        chosen = PUBLISHED[published]._replace(**{key: value for key, value in given.items() if value is not None})
        for name in ("decay_in", "decay_out"):
            if not 0 <= getattr(chosen, name) <= 1:
                raise NeurofaError(f"got stllr({name}={getattr(chosen, name)}); expected 0 to 1; change {name}")
        # the eligibility takes a number for a coefficient that all neurons share, an integer too
        self.post, self.pre = float(chosen.post), float(chosen.pre)
        self.decay_in, self.decay_out = float(chosen.decay_in), float(chosen.decay_out)
        own = PSI_OF.get(published)
        self.psi_dense, self.psi_conv = self._surrogates(psi if psi is not None else own)

    @staticmethod
    def _surrogates(psi: Surrogate | str | None) -> tuple[Surrogate | None, Surrogate | None]:
        """Return psi of dense layers and of convolutions; None: that of the neurons."""
        if psi == "neuron":
            return None, None
        names = (PSI_DENSE, PSI_CONV) if psi is None else (psi, psi)
        dense, conv = (build("surrogate", name) for name in names)
        return dense, conv

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, eligibility=self)

    def dynamics(self, name: str, layer: Temporal, view: LocalView) -> Dynamics:
        psi = self._psi(layer, view)
        before, _ = self._follow(view, psi)
        # two memories per weight: the input trace, and the input of the tick alone, gated by tr_out_{t-1}
        return Dynamics([[self.decay_in, 0.0], [0.0, 0.0]], [1.0, before], [psi * self.post, self.pre])

    def carried(self, name: str, layer: Temporal, view: LocalView) -> State:
        return {ACTIVE: self._follow(view, self._psi(layer, view))[1]}

    def _psi(self, layer: Temporal, view: LocalView) -> Tensor:
        """Return psi of every tick, (K, B, *out_shape)."""
        own = self.psi_conv if len(layer.map.weight_shape) > 2 else self.psi_dense
        if own is None or "v" not in view.after:
            psi = layer.neuron.derivative(view.after, view.y)
        else:
            psi = own.derivative(view.after["v"])
        return as_ticks(psi, batch_of(layer, view))

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
