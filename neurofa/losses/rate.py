"""A loss of the summed outputs of a sequence, such as spike counts."""

from __future__ import annotations

from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.loss import Loss, LossResult


class RateLoss(Loss, name="rate"):
    """Another loss of the output that is summed over the taught ticks, L(sum_t y_t): spike counts where y are spikes.

    Every tick has the same error, dL/dy_t = dL/d(sum), which is known after the last one: all ticks are then one chunk,
    and memory grows with their number. A static network has one tick. The loss of every tick is ``per_tick``.

    Args:
        loss: of the sums.
        mean: whether the mean over the ticks is judged instead, L(1/T sum_t y_t), so that targets are rates rather than
            counts.
    """

    source = "Eshraghian et al. 2023, arXiv 2109.12894: losses of spike rates and counts"
    whole = True

    def __init__(self, *, loss: Loss | str = "cross_entropy", mean: bool = False) -> None:
        inner: Loss = build("loss", loss)
        if inner.whole:
            raise NeurofaError(f"got rate(loss={inner}); expected a loss of single outputs; use cross_entropy or mse")
        self.loss, self.mean = inner, mean
        self.labels, self.ignore_index = inner.labels, inner.ignore_index

    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        return self.loss.evaluate(y, target)

    def weighted(self, y: Tensor, target: Tensor, weight: Tensor) -> LossResult:
        return self.loss.weighted(y, target, weight)

    def of_ticks(self, y: Tensor, target: Tensor, batch: int) -> LossResult:
        ticks = len(y) // batch
        total = y.view(ticks, batch, -1).sum(0)
        result = self.loss.evaluate(total / ticks if self.mean else total, target[:batch])
        # the learner takes the mean over the ticks
        scale = 1 if self.mean else ticks
        rows = [(part * scale).repeat(ticks, 1) for part in (result.error, result.target)]
        return LossResult(result.value, rows[0], rows[1], result.mass)
