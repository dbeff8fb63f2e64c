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
    """(B, o): derivative of B times the mean loss with respect to the output: of each sample's loss, unreduced."""
    target: Tensor
    """(B, o): target values of the output (one-hot for labels)."""
    mass: Tensor | None = None
    """0-dim: sum of the samples' weights, by which the mean is divided; None: B, the samples weigh the same."""


class LossTerms(NamedTuple):
    """Loss and output error of every sample, before they are averaged."""

    values: Tensor
    """(B,): loss of each sample."""
    error: Tensor
    """(B, o): derivative of each sample's loss by the output."""
    target: Tensor
    """(B, o): target values of the output."""
    mass: Tensor | None = None
    """(B,): what a sample adds to the sum by which the mean is divided; None: 1."""


class Loss(Registered, ABC, kind="loss"):
    """A loss of outputs (B, o), with its derivative in closed form."""

    labels: bool = True
    """Whether targets are class labels."""
    ignore_index: int | None = None
    """Label of rows that do not count; None: all rows count."""

    whole: bool = False
    """Whether a sequence is judged by its outputs together, after the last tick, rather than tick by tick."""

    @abstractmethod
    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        """Compute value, error and target values of one batch.

        Args:
            y: (B, o) network output.
            target: (B,) labels or (B, o) values.

        Raises:
            NeurofaError: a target of the wrong shape or range.
        """

    def of_ticks(self, y: Tensor, target: Tensor, batch: int) -> LossResult:
        """Compute the loss of K ticks, and K B times its derivative by the output of each row; default: their mean.

        Args:
            y: (K B, o) outputs, tick by tick.
            target: (K B,) or (K B, o) targets of the rows.
            batch: B.
        """
        return self.evaluate(y, target)

    def weighted(self, y: Tensor, target: Tensor, weight: Tensor) -> LossResult:
        """Compute value, error and target values of one batch whose samples weigh differently; default: refused.

        Args:
            y: (B, o) network output.
            target: (B,) labels or (B, o) values.
            weight: (B,) weights of the samples, 0 or more.

        Raises:
            NeurofaError: as for :meth:`evaluate`; weights of the wrong shape or range; a loss without weights.
        """
        raise NeurofaError(
            f"got weights of samples for loss {self.name}, which has none; expected a loss with terms of its samples;"
            " derive it from neurofa.core.loss.MeanLoss, or leave the weights out"
        )


class MeanLoss(Loss):
    """A loss that is the weighted mean of its samples' losses, L = sum_i s_i l_i / sum_i s_i m_i.

    s_i is the weight that the caller gives to a sample, 1 by default, and m_i the mass that the loss gives to it, such
    as the weight of its class, or 0 for an ignored one. A batch without mass has loss 0 and errors of zero. The target
    of a sample is scaled as its error is, so that rules that teach by the target heed the weights too.
    """

    @abstractmethod
    def terms(self, y: Tensor, target: Tensor) -> LossTerms:
        """Return loss and error of every sample, before they are averaged.

        Args:
            y: (B, o) network output.
            target: (B,) labels or (B, o) values.
        """

    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        return _mean(self.terms(y, target), None)

    def weighted(self, y: Tensor, target: Tensor, weight: Tensor) -> LossResult:
        if weight.shape != y.shape[:1] or weight.is_complex():
            raise NeurofaError(
                f"got weights of shape {tuple(weight.shape)} for {len(y)} samples; expected one number a sample,"
                f" ({len(y)},); reshape them"
            )
        weight = weight.to(y)
        if weight.device.type == "cpu" and len(weight):
            low, high = (float(end) for end in weight.aminmax())
            if not 0 <= low <= high < float("inf"):
                raise NeurofaError(
                    f"got weights of samples from {low:g} to {high:g}; expected finite numbers of 0 or more; correct"
                    " them"
                )
        return _mean(self.terms(y, target), weight)


def _mean(terms: LossTerms, weight: Tensor | None) -> LossResult:
    """Return the weighted mean of terms, with errors of which the learner takes the plain mean."""
    mass = terms.mass
    if weight is None and mass is None:
        return LossResult(terms.values.mean(), terms.error, terms.target)
    own = torch.ones_like(terms.values) if mass is None else mass
    total = (own if weight is None else own * weight).sum()
    # a batch without mass has no mean: nothing is learnt from it
    safe = torch.where(total > 0, total, 1.0)
    scale = len(own) / safe if weight is None else weight * (len(own) / safe)
    value = (terms.values * scale).sum().div(len(own))
    rows = scale if weight is None else scale.unsqueeze(1)
    return LossResult(value, terms.error * rows, terms.target * (own * scale).unsqueeze(1), total)


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


def values_of(target: Tensor, y: Tensor) -> Tensor:
    """Return target values (B, o) in the dtype of ``y``: values, labels as one-hot rows, or numbers of one output.

    A network of one output has no classes: (B,) are then its target values, whole numbers as well as real ones.

    Args:
        target: (B,) labels, (B,) values of one output, or (B, o) values.
        y: (B, o) network output.

    Raises:
        NeurofaError: a target of another shape, labels out of range.
    """
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
    return values
