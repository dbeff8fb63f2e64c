"""Error-driven input modulation: two forward passes, and no return path."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.feedback import Feedback
from neurofa.core.layer import Directions, Layer, LocalView
from neurofa.core.plan import Plan, Site
from neurofa.core.products import At, Item
from neurofa.core.rule import Rule, Teaching
from neurofa.maps.affine import Affine

INPUT = "input"
"""Name of the one place that the pathway leads to."""
READOUTS = ("second", "first")


class Pepita(Rule, name="pepita"):
    """PEPITA: the error is added to the input, and layers learn from the difference of both passes.

    The second pass sees x + F e with the same dropout. With h_l and h_l^err the outputs of a layer in both passes,

        dW_l = (h_l - h_l^err) (h_{l-1}^err)^T,    h_0^err = x + F e,

    without a derivative of the activation; at the readout dW_L = e^err (h_{L-1}^err)^T. A bias learns as a weight from
    a constant input of one. A convolution takes the mean over its positions. Gains and shifts of normalisations stay
    as they are: the rule has no direction for them. A block of several maps, for which the text has none either, takes
    h - h^err as the error at its output and works it into them by its own derivative, in the second pass.

    The entries of F are uniform in +-std sqrt(6/n_in) with ``feedback=dense``: the feedback draws +-1/sqrt(o) on its
    device, and what comes out is scaled, so that the device keeps its range.

    Args:
        std: size of F, above 0.
        readout: which error the readout takes: of the ``second`` pass (fully connected networks in the authors' code),
            or of the ``first`` (one fully connected layer behind convolutions there).
        feedback: the projection F from the error to the input.
        error: number format of e before it enters the pathway.
    """

    source = "Dellaferrera and Kreiman 2022, ICML, arXiv 2201.11665, as in the authors' code"
    needs = frozenset({"second_pass"})

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

    def _bind(self, plan: Plan, gen: torch.Generator) -> None:
        self.feedback.open((Site(INPUT, plan.input_shape, {}, elementwise=False),), plan.outputs, gen)
        self.scale = self.std * math.sqrt(6 * plan.outputs / math.prod(plan.input_shape))

    def modulate(self, x: Tensor, error: Tensor, gen: torch.Generator | None) -> Tensor | None:
        sent = self.feedback.send(self.encoder.quantize(error, gen), gen)(INPUT)
        return x.add(sent, alpha=self.scale)

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        view = teaching.view
        assert view is not None and view.again is not None
        return view.y - view.again.y

    def conclude(self, teaching: Teaching) -> Tensor:
        if self.readout == "first":
            return teaching.error
        view = teaching.view
        assert view is not None and view.again is not None and view.again.error is not None
        return view.again.error

    def localise(self, name: str, layer: Layer, view: LocalView) -> LocalView:
        assert view.again is not None and view.error is not None
        seen = view.again.given(view.error)
        if not isinstance(layer, Affine):
            return layer.localise(seen)
        return seen.worked_out(view.error / view.error[0, 0].numel())

    def update(self, name: str, layer: Layer, view: LocalView) -> Directions:
        if name != self.plan.readout.name:
            return layer.pullback(view)
        assert view.again is not None and view.error is not None
        return layer.pullback(layer.localise(view.again.given(view.error)))

    def work_once(self, batch: int) -> list[Item]:
        return [Item("passes", self.feedback.flop(batch, self.plan.outputs))]

    def work_at(self, at: At) -> list[Item]:
        # a block at the readout works its error of the first pass into itself, and then that of the second
        return at.served(self.through) * (2 if at.readout and not at.work.closed else 1)
