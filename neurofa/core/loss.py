"""Losses in closed form: a value to watch and the error at the network's output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import Registered


class LossValue(NamedTuple):
    """What a loss says of one batch."""

    value: Tensor
    """Mean loss over the batch, 0-dim."""
    error: Tensor
    """(B, o): derivative of each sample's loss by the output, unreduced."""
    target: Tensor
    """(B, o): the target as the output should have been (one-hot for labels)."""


class Loss(Registered, ABC, kind="loss"):
    """A loss over outputs (B, o), with its derivative written out."""

    labels: bool = True
    """Whether targets are class labels."""

    @abstractmethod
    def outcome(self, y: Tensor, target: Tensor) -> LossValue:
        """Value, error and target of one batch.

        Args:
            y: (B, o) network output.
            target: (B,) labels or (B, o) values.

        Raises:
            NeurofaError: target of the wrong shape or range.
        """


class CrossEntropy(Loss, name="cross_entropy"):
    """L = -log softmax(y)[label]; error = softmax(y) - onehot(label)."""

    def outcome(self, y: Tensor, target: Tensor) -> LossValue:
        hot = one_hot(target, y)
        log_p = torch.log_softmax(y, 1)
        value = (log_p * hot).sum().neg_().div_(len(y))
        return LossValue(value, log_p.exp_().sub_(hot), hot)


class MeanSquaredError(Loss, name="mse"):
    """L = 1/2 sum_k (y_k - t_k)^2; error = y - t; labels become one-hot targets."""

    labels = False

    def outcome(self, y: Tensor, target: Tensor) -> LossValue:
        wanted = one_hot(target, y) if target.dim() == 1 and not target.is_floating_point() else target.to(y.dtype)
        if wanted.shape != y.shape:
            raise NeurofaError(
                f"got targets of shape {tuple(target.shape)}; expected labels ({len(y)},) or values {tuple(y.shape)};"
                " check the data set"
            )
        error = y - wanted
        return LossValue(error.square().sum().mul_(0.5 / len(y)), error, wanted)


def one_hot(labels: Tensor, y: Tensor) -> Tensor:
    """Labels (B,) as rows of ``y``'s shape and dtype.

    Raises:
        NeurofaError: labels that are not whole numbers below the number of outputs. On an accelerator the range is
            not looked at here, since that would wait for the device; data sets check it when they are loaded.
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
