"""A loss of the outputs of every single tick."""

from __future__ import annotations

from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.loss import Loss, LossResult


class PerTickLoss(Loss, name="per_tick"):
    """The mean of another loss over the taught ticks, 1/T sum_t L(y_t): what sequences have where nothing is said.

    The error of a tick is known in that tick, so that learning may be online. The loss of summed outputs is ``rate``.

    Args:
        loss: of the outputs of one tick.
    """

    source = "Bellec et al. 2020, Nature Communications 11, 3625: a loss that is a sum over the ticks"

    def __init__(self, *, loss: Loss | str = "cross_entropy") -> None:
        inner: Loss = build("loss", loss)
        if inner.whole:
            raise NeurofaError(f"got per_tick(loss={inner}); expected a loss of one tick; use cross_entropy or mse")
        self.loss, self.labels, self.ignore_index = inner, inner.labels, inner.ignore_index

    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        return self.loss.evaluate(y, target)

    def weighted(self, y: Tensor, target: Tensor, weight: Tensor) -> LossResult:
        return self.loss.weighted(y, target, weight)
