"""Forward gradients: a random direction times the directional derivative of the loss along it."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import By, Declaration, Perturbation, Teaching, WorkCount
from neurofa.core.directions import Directions
from neurofa.core.layer import Layer
from neurofa.core.plan import Plan
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Rule
from neurofa.core.view import LocalView, Params


class ForwardGradient(Rule, WorkCount, name="forward_gradient"):
    """Unbiased gradient estimate from one probe: E[(dL/dv) v] = grad L for v of unit covariance.

    v is a random direction and dL/dv the derivative of the loss L along it, which one probe measures.

    ``activity``: h_l is perturbed by an independent delta_l for every sample and receives the error (e . u) delta_l,
    where u is the change of the network's output and e the output error. The layer's own derivative takes this error to
    its weights; the readout learns from e. ``weight``: all weights are perturbed by one v for the whole batch, and the
    direction is (sum_i e_i . u_i) v. The variance grows with the number of perturbed activities or weights.

    Args:
        space: perturbed quantity, ``activity`` or ``weight``.
        per_layer: one probe per layer instead of one shared probe.
        by: ``tangent`` (forward-mode derivatives) or ``difference`` (of two passes).
        step: size of the change in a difference.
        error: number format of e before its product with u.
    """

    source = "Baydin et al. 2022, arXiv 2202.08587 (weights); Ren et al. 2023, arXiv 2210.03310 (activities)"
    recommended = Recommended(dense="adam(lr=0.002)", spiking="adam(lr=0.01)")

    def __init__(
        self,
        *,
        space: str = "activity",
        per_layer: bool = False,
        by: By = "tangent",
        step: float = 0.01,
        error: Format | str = "raw",
    ) -> None:
        super().__init__(error=error)
        if space not in ("activity", "weight"):
            raise NeurofaError(f"got forward_gradient(space={space}); expected activity or weight; choose one")
        self.space = space
        self.perturbation = Perturbation(by, step, per_layer)
        self._outputs: dict[str, tuple[Tensor, Tensor]] = {}
        self._weights: dict[str, tuple[Params, Tensor]] = {}

    @cached_property
    def declares(self) -> Declaration:
        return Declaration(probing=self, work=self)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        self._hidden = {site.name for site in plan.hidden}

    def perturb(
        self, name: str, layer: Layer, view: LocalView, teaching: Teaching, gen: torch.Generator | None
    ) -> tuple[Tensor | None, Params]:
        if self.space == "weight":
            return None, {key: _normal_like(weight, gen) for key, weight in view.params.items()}
        return (_normal_like(view.y, gen) if name in self._hidden else None), {}

    def observe_probe(
        self, outputs: dict[str, Tensor], weights: dict[str, Params], u: Tensor, gen: torch.Generator | None
    ) -> None:
        self._outputs |= {name: (change, u) for name, change in outputs.items()}
        self._weights |= {name: (change, u) for name, change in weights.items()}

    def after_probes(self, gen: torch.Generator | None) -> None:
        """Do nothing: the rule has no feedback to adapt."""

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        self._error = self.encoder.quantize(teaching.error, gen)

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        if self.space == "weight":
            return teaching.error  # only its presence counts: update() uses the measured weights' changes
        change, u = self._outputs[name]
        # e . u per sample, over all its positions: the loss along the change
        derivative = (self._error * u).view(len(change), -1).sum(1)
        return change * derivative.view(-1, *[1] * (change.dim() - 1))

    def update(self, name: str, layer: Layer, view: LocalView) -> tuple[LocalView, Directions]:
        if self.space == "activity":
            return super().update(name, layer, view)
        changes, u = self._weights[name]
        derivative = (self._error * u).sum()  # one number: the whole batch shares the change
        return view, {key: change * derivative for key, change in changes.items()}

    def perturbs(self, name: str) -> tuple[bool, bool]:
        return self.space == "activity" and name in self._hidden, self.space == "weight"

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        return super().work_at(served) if self.space == "activity" else []


def _normal_like(x: Tensor, gen: torch.Generator | None) -> Tensor:
    return torch.randn(x.shape, generator=gen, device=x.device, dtype=x.dtype)
