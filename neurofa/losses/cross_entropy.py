"""Cross-entropy of classes: labels or probabilities, smoothed, with weights of classes and a label that is ignored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.loss import LossResult, LossTerms, MeanLoss, one_hot

SUM = 1e-2
"""Largest difference from 1 of the sum of target probabilities: they may be stored in half precision."""


class CrossEntropy(MeanLoss, name="cross_entropy"):
    """Cross-entropy of a softmax p, L = -sum_k w_k q_k log p_k, q the target's probabilities; labels are one-hot.

    error = (sum_k w_k q_k) p - w q; without options p - onehot(label). Value and gradient are those of torch's
    ``cross_entropy``: with labels the loss of a batch is sum_i s_i L_i / sum_i s_i w_label(i) over the samples that are
    not ignored, with probabilities sum_i s_i L_i / sum_i s_i; s are the weights of samples, 1 by default. Targets
    (B, o) in floating point are probabilities, whole numbers (B,) are labels.

    Args:
        label_smoothing: share of a target's probability that is spread evenly over all classes, 0 to 1.
        weight: w, one positive number (or 0) for each class; None: 1 each.
        ignore_index: label of rows that do not count, such as padding (torch's default is -100); None: all rows count.
    """

    source = "Szegedy et al. 2016, arXiv 1512.00567 (label smoothing, section 7)"

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
    ) -> None:
        if not 0 <= label_smoothing <= 1:
            raise NeurofaError(
                f"got cross_entropy(label_smoothing={label_smoothing}); expected 0 to 1; 0.1 is usual, 0 none"
            )
        if weight is not None and not (len(weight) and all(0 <= w < float("inf") for w in weight) and any(weight)):
            raise NeurofaError(
                f"got cross_entropy(weight={list(weight)}); expected one finite number of 0 or more for each class, and"
                " not only zeros; correct them"
            )
        self.label_smoothing, self.weight, self.ignore_index = label_smoothing, weight, ignore_index

    def evaluate(self, y: Tensor, target: Tensor) -> LossResult:
        special = self.label_smoothing or self.weight is not None or self.ignore_index is not None
        if special or target.is_floating_point():
            return super().evaluate(y, target)
        _require_classes(y)
        if not _fit(target, y):
            one_hot(target, y)  # says what is wrong
        hot = torch.zeros_like(y).scatter_(1, target.long().unsqueeze(1), 1.0)
        log_p = torch.log_softmax(y, 1)
        value = (log_p * hot).sum().neg_().div_(len(y))
        # log_p is not read again, so that exp may overwrite it
        return LossResult(value, log_p.exp_().sub_(hot), hot)

    def terms(self, y: Tensor, target: Tensor) -> LossTerms:
        _require_classes(y)
        scales = None if self.weight is None else self._scales(y)
        if target.is_floating_point():
            q, mass = self._probabilities(y, target), None
        else:
            q, mass = self._labels(y, target, scales)
        if self.label_smoothing:
            q = q * (1 - self.label_smoothing) + self.label_smoothing / y.shape[1]
        wq = q if scales is None else q * scales
        if mass is not None and self.ignore_index is not None:
            wq = wq * (target != self.ignore_index).to(y).unsqueeze(1)
        log_p = torch.log_softmax(y, 1)
        values = (log_p * wq).sum(1).neg_()
        return LossTerms(values, log_p.exp_().mul_(wq.sum(1, keepdim=True)).sub_(wq), q, mass)

    def _scales(self, y: Tensor) -> Tensor:
        """Return w, (o,)."""
        assert self.weight is not None
        if len(self.weight) != y.shape[1]:
            raise NeurofaError(
                f"got cross_entropy with weights of {len(self.weight)} classes for {y.shape[1]} outputs; expected one"
                " weight for each; change weight"
            )
        return torch.tensor(list(self.weight), dtype=y.dtype).to(y.device, non_blocking=True)

    def _labels(self, y: Tensor, target: Tensor, scales: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return one-hot rows (B, o), and the mass of every sample (B,): the weight of its class, 0 if ignored."""
        kept = None if self.ignore_index is None else target != self.ignore_index
        labels = target if kept is None else target.where(kept, 0)
        hot = one_hot(labels, y)
        mass = None if scales is None else scales[labels.long()]
        if kept is not None:
            mass = kept.to(y) if mass is None else mass * kept
        return hot, mass

    def _probabilities(self, y: Tensor, target: Tensor) -> Tensor:
        """Return the target's probabilities, (B, o).

        Raises:
            NeurofaError: another shape, numbers that are no probabilities, an ignored label beside them.
        """
        if target.shape != y.shape:
            raise NeurofaError(
                f"got targets of shape {tuple(target.shape)}, {target.dtype}; expected one whole-number label per"
                f" sample, ({len(y)},), or probabilities {tuple(y.shape)}; check the data set or use loss mse"
            )
        if self.ignore_index is not None:
            raise NeurofaError(
                f"got probabilities as targets for cross_entropy(ignore_index={self.ignore_index}); expected labels, of"
                " which one can be ignored; give the rows weight 0 instead"
            )
        if target.device.type == "cpu" and len(target):
            off = float((target.sum(1) - 1).abs().amax())
            if not (off <= SUM and float(target.amin()) >= 0):
                raise NeurofaError(
                    "got floating-point targets for cross_entropy that are no probabilities (a row is negative or sums"
                    f" to 1 only up to {off:.2g}); expected rows that sum to 1; use loss mse for numbers, or bce for"
                    " several labels at once"
                )
        return target.to(y.dtype)


def _fit(labels: Tensor, y: Tensor) -> bool:
    """Return whether labels are whole numbers, one a sample, below the number of outputs."""
    if labels.shape != y.shape[:1]:
        return False
    if labels.device.type != "cpu" or not len(labels):
        return True  # the range is not checked, since that would wait for the device
    low, high = map(int, labels.aminmax())
    return low >= 0 and high < y.shape[1]


def _require_classes(y: Tensor) -> None:
    if y.shape[1] == 1:
        raise NeurofaError(
            "got one output for cross_entropy, whose softmax is 1 there; expected one output a class; use loss mse,"
            " or two outputs"
        )
