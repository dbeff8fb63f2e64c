"""Augmented direct feedback alignment."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from hwmodels.registry import build
from hwmodels.spec import Spec
from neurofa.core.capabilities import Declaration
from neurofa.core.description import PathDescription
from neurofa.core.directions import Directions
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.plan import Plan
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Direct
from neurofa.core.view import LocalView
from neurofa.maps.activations import Nonlinearity
from neurofa.maps.affine import Affine


class AugmentedDFA(Direct, name="adfa"):
    """Augmented DFA: delta_l = (B_l^T e) * g(a_l) with any nonlinearity g in place of the derivative f'.

    e is the output error, B_l the fixed random feedback of hidden layer l, a_l the layer's preactivation (behind its
    normalisation), and delta_l the error from which its weights learn. A physical layer whose derivative is unknown can
    thus be trained.

    Args:
        g: name of the nonlinearity (see ``neurofa list nonlinearity``), or a function of a tensor.
        feedback: direct pathway, a spec or a module.
        error: number format of e before it enters the pathway.
    """

    source = "Nakajima et al. 2022, arXiv 2204.13991"
    recommended = Recommended()

    def __init__(
        self, *, g: str | Nonlinearity = "bell", feedback: Feedback | str = "dense", error: Format | str = "raw"
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        self.g: Nonlinearity = build("nonlinearity", g)
        self.derivative = str(g) if isinstance(g, str | Spec) else "function"

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, plasticity="fixed")

    def describe_path(self) -> PathDescription:
        return replace(super().describe_path(), derivative=self.derivative, substitute=self.g)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        for site in plan.hidden:
            if not site.elementwise:
                raise NeurofaError(
                    f"got rule 'adfa' on layer '{site.name}', which has no single elementwise activation; expected"
                    " dense or convolutional layers; use dfa for blocks"
                )
        super().bind(plan, gen)

    def update(self, name: str, layer: Layer, view: LocalView) -> tuple[LocalView, Directions]:
        if name == self.plan.readout.name or not isinstance(layer, Affine):
            return super().update(name, layer, view)
        view = layer.backprop_with(view, self.g)
        return view, layer.pullback(view)

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        if served.readout or served.work.kept:
            return super().work_at(served)
        return [*super().work_at(served), PhaseFlop("delivery", served.work.affine)]  # a_l is computed anew
