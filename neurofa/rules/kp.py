"""Kolen-Pollack learning of the return weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import recipe
from neurofa.core.capabilities import Declaration, Plastic, SequenceLearning
from neurofa.core.directions import Directions
from neurofa.core.feedback import Feedback
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Chained
from neurofa.core.view import LocalView


class KolenPollack(Chained, name="kp"):
    """Kolen-Pollack: W and B get the same change and the same decay, so that W - B shrinks by (1 - lr decay) a step.

    W <- (1 - lr d) W - lr delta x^T and B <- (1 - lr d) B - lr delta x^T, where W are the forward weights of a layer, B
    its return weights (oriented as W), x its input and delta the error at its affine output. The common change depends
    on delta and x only, which both weights see. Decay set in the optimizer adds to d.

    Args:
        decay: d, weight decay of the rule, for weights and return weights alike.
        feedback: distribution of the initial return weights.
        error: number format of the output error before it is returned.
        filtered: whether errors reach hidden layers through the filter of a leaky readout (sequences: e-prop).
    """

    source = "Kolen and Pollack 1994; Akrout et al. 2019, arXiv 1904.05391, eqs. 16-17"
    recommended = Recommended(spiking="adam(lr=0.003)")

    def __init__(
        self,
        *,
        decay: float = 1e-3,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
        filtered: bool = False,
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        if decay < 0:
            raise NeurofaError(f"got kp(decay={decay}); expected 0 or more; 0.001 is the default")
        self.decay, self.filtered = decay, filtered

    @cached_property
    def declares(self) -> Declaration:
        return replace(
            super().declares,
            plastic=self,
            plasticity="kolen_pollack",
            sequences=SequenceLearning(filtered=self.filtered),
        )

    def adapt(self, name: str, view: LocalView, directions: Directions) -> Directions:
        return {key: directions[key] for key in self.beside(name) if key in directions}

    def plastic(self, name: str) -> dict[str, Plastic]:
        return {key: Plastic(synapses) for key, synapses in self.beside(name).items()}

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        # the same factors, multiplied at both ends
        again = sum(m.product for m in served.work.maps if m.factored and m.key in self.beside(served.name))
        return [*super().work_at(served), PhaseFlop("adaptation", again)]


@recipe(
    "rule",
    "eprop_adaptive",
    source="Bellec et al. 2020, Nature Communications 11, 3625 (adaptive e-prop)",
    recommended=Recommended(spiking="adam(lr=0.003)"),
)
def eprop_adaptive(
    *, decay: float = 1e-3, feedback: Feedback | str = "dense", error: Format | str = "raw", filtered: bool = True
) -> KolenPollack:
    """Adaptive e-prop: return weights get the same changes and the same decay as the forward weights beside them.

    Args:
        decay: weight decay of the rule, for weights and return weights alike.
        feedback: distribution of the initial return weights.
        error: number format of the output error before it is returned.
        filtered: whether eligibility passes the filter of a leaky readout, as in the gradient.
    """
    return KolenPollack(decay=decay, feedback=feedback, error=error, filtered=filtered)
