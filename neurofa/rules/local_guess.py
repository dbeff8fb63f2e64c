"""Forward gradients along the gradient of a local loss instead of a random direction."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import By, Declaration, Perturbation, Teaching
from neurofa.core.directions import Directions, dense
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.view import LocalView, Params
from neurofa.families.local_heads import Headed

TINY = 1e-14
"""Added to a norm before division."""


class LocalGuess(Headed, name="local_guess"):
    """Forward gradient along the guess G, the gradient of a layer's local loss: direction (dL . G) G.

    L is the network's loss. One probe measures u, the change of the network's output along the guesses; no error is
    sent back. ``activity``: G_l is the local gradient at h_l of each sample, at length 1; the layer receives (e . u)
    G_l, which its own derivative takes to its weights. ``weight``: G_l is the local gradient of the layer's weights
    over the batch, at length 1, and the direction is (sum_i e_i . u_i) G_l. The readout learns from e. With a shared
    probe dL . G is the sum over all layers.

    The inner product with the true gradient is (dL . G)^2 >= 0 in the probed space. The estimate is biased: it has no
    component orthogonal to the guess.

    Args:
        space: perturbed quantity, ``activity`` or ``weight``.
        groups: groups of channels, each with its own local loss and part of the head; at most one per channel.
        heads: ``learn`` (dA_l = e_l f_l^T, with the layer's learning rate) or ``fixed``.
        per_layer: one probe per layer instead of one shared probe.
        by: ``tangent`` (forward-mode derivatives) or ``difference`` (of two passes).
        step: size of the change in a difference.
        feedback: distribution and device of the heads A_l.
        error: number format of the local errors, and of e before its product with u.
    """

    source = "Fournier, Rivaud, Belilovsky, Eickenberg and Oyallon 2023, ICML, arXiv 2306.06968 (linear heads)"
    recommended = Recommended(convolutional="sgd(lr=0.1)")

    def __init__(
        self,
        *,
        space: str = "activity",
        groups: int = 1,
        heads: str = "learn",
        per_layer: bool = False,
        by: By = "tangent",
        step: float = 0.01,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(groups=groups, heads=heads, feedback=feedback, error=error)
        if space not in ("activity", "weight"):
            raise NeurofaError(f"got local_guess(space={space}); expected activity or weight; choose one")
        self.space = space
        self.perturbation = Perturbation(by, step, per_layer)
        self._guesses: dict[str, Tensor] = {}
        self._moved: dict[str, Params] = {}
        self._changes: dict[str, Tensor] = {}

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, probing=self)

    def _guess(self, name: str, teaching: Teaching, view: LocalView, gen: torch.Generator | None) -> Tensor:
        """Return the gradient of the local loss at the layer's output, (B, *out_shape)."""
        return self.spread(name, self.listen(name, teaching, view, gen).gradient())

    def perturb(
        self, name: str, layer: Layer, view: LocalView, teaching: Teaching, gen: torch.Generator | None
    ) -> tuple[Tensor | None, Params]:
        if name not in self.shapes:
            return None, {}
        guess = self._guess(name, teaching, view, gen).reshape(view.y.shape)
        if self.space == "activity":
            length = guess.flatten(1).norm(dim=1).add(TINY).view(-1, *[1] * (guess.dim() - 1))
            self._guesses[name] = guess / length
            return self._guesses[name], {}
        directions = dense(layer.pullback(layer.backprop_local(replace(view, error=guess))))
        length = torch.stack([d.norm() for d in directions.values()]).norm() + TINY
        self._moved[name] = {key: d / length for key, d in directions.items()}
        return None, self._moved[name]

    def observe_probe(
        self, outputs: dict[str, Tensor], weights: dict[str, Params], u: Tensor, gen: torch.Generator | None
    ) -> None:
        self._changes |= dict.fromkeys((*outputs, *weights), u)

    def after_probes(self, gen: torch.Generator | None) -> None:
        """Do nothing: the rule has no feedback to adapt."""

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        self._error = self.encoder.quantize(teaching.error, gen)

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        if self.space == "weight":
            return teaching.error  # only its presence counts: update() uses the measured weights' changes
        guess = self._guesses[name]
        # e . u per sample, over all its positions: the loss along the guess
        derivative = (self._error * self._changes[name]).view(len(guess), -1).sum(1)
        return guess * derivative.view(-1, *[1] * (guess.dim() - 1))

    def update(self, name: str, layer: Layer, view: LocalView) -> tuple[LocalView, Directions]:
        if self.space == "activity" or name not in self.shapes:
            return super().update(name, layer, view)
        derivative = (self._error * self._changes[name]).sum()  # one number: the whole batch shares the guess
        return view, {key: change * derivative for key, change in self._moved[name].items()}

    def perturbs(self, name: str) -> tuple[bool, bool]:
        return (self.space == "activity" and name in self.shapes), (self.space == "weight" and name in self.shapes)

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        # weights: the layer works the guess into itself, once, and then only stretches it
        more = self.head_flop(served.name, served.batch) if served.name in self.shapes else 0
        return [*super().work_at(served), PhaseFlop("delivery", more)]
