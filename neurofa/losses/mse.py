"""Squared error."""

from __future__ import annotations

from torch import Tensor

from neurofa.core.loss import LossResult, LossTerms, MeanLoss, values_of


class MeanSquaredError(MeanLoss, name="mse"):
    """Squared error, L = 1/2 sum_k (y_k - t_k)^2 for targets t; error = y - t; labels become one-hot targets.

    A network of one output has no classes: whole numbers (B,) are then its target values, as real ones are. With
    weights s of samples the loss is sum_i s_i L_i / sum_i s_i.
    """

    source = "Bishop 2006, Pattern recognition and machine learning, equation 5.11"
    labels = False

    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        values = values_of(target, y)
        error = y - values
        return LossResult(error.square().sum().mul_(0.5 / len(y)), error, values)

    def terms(self, y: Tensor, target: Tensor) -> LossTerms:
        values = values_of(target, y)
        error = y - values
        return LossTerms(error.square().sum(1).mul_(0.5), error, values)
