"""Losses in closed form: their value, and the error at the network's output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import Registered


class LossResult(NamedTuple):
    """Loss and output error of one batch."""

    value: Tensor
    """Mean loss over the batch, 0-dim."""
    error: Tensor
    """(B, o): derivative of each sample's loss with respect to the output, unreduced."""
    target: Tensor
    """(B, o): target values of the output (one-hot for labels)."""


class Loss(Registered, ABC, kind="loss"):
    """A loss of outputs (B, o), with its derivative in closed form."""

    labels: bool = True
    """Whether targets are class labels."""

    @abstractmethod
    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        """Compute value, error and target values of one batch.

        Args:
            y: (B, o) network output.
            target: (B,) labels or (B, o) values.

        Raises:
            NeurofaError: a target of the wrong shape or range.
        """


class CrossEntropy(Loss, name="cross_entropy"):
    """Cross-entropy of a softmax, L = -log softmax(y)[label]; error = softmax(y) - onehot(label)."""

    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        if y.shape[1] == 1:
            raise NeurofaError(
                "got one output for cross_entropy, whose softmax is 1 there; expected one output a class; use loss mse,"
                " or two outputs"
            )
        hot = one_hot(target, y)
        log_p = torch.log_softmax(y, 1)
        value = (log_p * hot).sum().neg_().div_(len(y))
        # log_p is not read again, so that exp may overwrite it
        return LossResult(value, log_p.exp_().sub_(hot), hot)


class MeanSquaredError(Loss, name="mse"):
    """Squared error, L = 1/2 sum_k (y_k - t_k)^2 for targets t; error = y - t; labels become one-hot targets.

    A network of one output has no classes: whole numbers (B,) are then its target values, as real ones are.
    """

    labels = False

    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        if target.shape == y.shape[:1] and y.shape[1] == 1:
            values = target.to(y.dtype).unsqueeze(1)
        elif target.dim() == 1 and not target.is_floating_point():
            values = one_hot(target, y)
        else:
            values = target.to(y.dtype)
        if values.shape != y.shape:
            raise NeurofaError(
                f"got targets of shape {tuple(target.shape)}; expected labels ({len(y)},) or values {tuple(y.shape)};"
                " check the data set"
            )
        error = y - values
        return LossResult(error.square().sum().mul_(0.5 / len(y)), error, values)


def one_hot(labels: Tensor, y: Tensor) -> Tensor:
    """Return labels (B,) as one-hot rows of the shape (B, o) and dtype of ``y``.

    Raises:
        NeurofaError: labels that are not whole numbers below the number of outputs. On an accelerator the range is not
            checked here, since that would wait for the device; data sets check it when they are loaded.
    """
    classes = y.shape[1]
    if labels.shape != y.shape[:1] or labels.is_floating_point():
        raise NeurofaError(
            f"got targets of shape {tuple(labels.shape)}, {labels.dtype}; expected one whole-number label per sample,"
            f" ({len(y)},); check the data set or use loss mse"
        )
    if labels.device.type == "cpu" and len(labels):
        low, high = map(int, labels.aminmax())
        if low < 0 or high >= classes:
            bad = low if low < 0 else high
            raise NeurofaError(
                f"got label {bad}; expected labels 0 to {classes - 1} for {classes} outputs; widen the readout or fix"
                " the labels"
            )
    return torch.zeros_like(y).scatter_(1, labels.long().unsqueeze(1), 1.0)
