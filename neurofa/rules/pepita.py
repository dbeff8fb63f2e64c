"""Error-driven input modulation (PEPITA): two forward passes; the error returns to the input alone."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Teaching, WorkCount
from neurofa.core.directions import Directions
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Layer
from neurofa.core.plan import Plan, Site
from neurofa.core.products import PhaseFlop
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Rule
from neurofa.core.view import LocalView
from neurofa.maps.affine import Affine

INPUT = "input"
"""Name of the network's input, the only target of the pathway."""
READOUTS = ("second", "first")


class Pepita(Rule, WorkCount, name="pepita"):
    """PEPITA: the error is added to the input, and layers learn from the difference of both passes.

    The second pass receives x + F e, with x the input, e the output error of the first pass and F a fixed random
    matrix, and uses the same dropout. With h_l and h_l^err the outputs of layer l in both passes,

        dW_l = (h_l - h_l^err) (h_{l-1}^err)^T,    h_0^err = x + F e,

    without a derivative of the activation; at the readout, layer L, dW_L = e^err (h_{L-1}^err)^T with the output error
    e^err of the second pass. A bias learns as a weight with constant input one. A convolution takes the mean over its
    positions. Gains and shifts of normalisations do not learn: the rule has no direction for them. A block of several
    maps, which the paper does not treat, takes h - h^err as the error at its output and differentiates its second pass.

    With ``feedback=dense`` the entries of F are uniform in +-std sqrt(6/n_in): the feedback draws +-1/sqrt(o) on its
    device, and the projected error is scaled, so that the device is used over its full range.

    Args:
        std: standard deviation of F in units of sqrt(2/n_in), above 0.
        readout: error of the readout: that of the ``second`` pass (fully connected networks in the authors' code), or
            of the ``first`` (there: one fully connected layer behind convolutions).
        feedback: the projection F from the error to the input.
        error: number format of e before it enters the pathway.
    """

    source = "Dellaferrera and Kreiman 2022, ICML, arXiv 2201.11665, as in the authors' code"
    recommended = Recommended(dense="adam(lr=0.003)", convolutional="sgd(lr=0.1)")

    def __init__(
        self,
        *,
        std: float = 0.05,
        readout: str = "second",
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        if not 0 < std < math.inf:
            raise NeurofaError(f"got pepita(std={std}); expected a positive number; 0.05 is the default")
        if readout not in READOUTS:
            raise NeurofaError(f"got pepita(readout={readout}); expected {' or '.join(READOUTS)}; choose one")
        self.std, self.readout = std, readout

    @cached_property
    def declares(self) -> Declaration:
        return Declaration(second_pass=self, work=self)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        super().bind(plan, gen)
        if plan.positions is not None:
            raise NeurofaError(
                f"got pepita on a network that answers at each of {plan.positions} positions; expected one answer a"
                " sample, whose error is added to the input; use dfa"
            )
        self.feedback.open((Site(INPUT, plan.input_shape, {}, elementwise=False),), plan.outputs, gen)
        # from the feedback's standard deviation, 1/sqrt(3 o) with gain 1, to that of F, std sqrt(2/n_in)
        self.scale = self.std * math.sqrt(6 * plan.outputs / math.prod(plan.input_shape))

    def second_input(self, x: Tensor, error: Tensor, gen: torch.Generator | None) -> Tensor:
        sent = self.feedback.send(self.encoder.quantize(error, gen), gen)(INPUT)
        return x.add(sent, alpha=self.scale)

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        view = teaching.view
        assert view is not None and view.second_pass is not None
        return view.y - view.second_pass.y

    def readout_error(self, teaching: Teaching) -> Tensor:
        if self.readout == "first":
            return teaching.error
        view = teaching.view
        assert view is not None and view.second_pass is not None and view.second_pass.error is not None
        return view.second_pass.error

    def update(self, name: str, layer: Layer, view: LocalView) -> tuple[LocalView, Directions]:
        assert view.second_pass is not None and view.error is not None
        second = replace(view.second_pass, error=view.error)
        if name == self.plan.readout.name or not isinstance(layer, Affine):
            second = layer.backprop_local(second)
        else:
            # no derivative of the activation: the difference is taken as the error at the affine output; the pullback
            # sums over positions, hence the division
            second = replace(second, delta=view.error / view.error[0, 0].numel())
        return second, layer.pullback(second)

    def work_once(self, batch: int) -> list[PhaseFlop]:
        return [PhaseFlop("passes", self.feedback.flop(batch, self.plan.outputs))]
