"""Binary cross-entropy: every output is a yes or no of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.loss import LossTerms, MeanLoss, values_of


class BinaryCrossEntropy(MeanLoss, name="bce"):
    """Binary cross-entropy of sigmoids, L = -1/o sum_k w_k (c_k t_k log s(y_k) + (1 - t_k) log(1 - s(y_k))).

    For samples of several labels: targets (B, o) are 0 or 1, or probabilities. error_k = w_k / o ((1 - t_k) -
    (1 + (c_k - 1) t_k) s(-y_k)). Value and gradient are those of torch's ``binary_cross_entropy_with_logits``; with
    weights s of samples the loss is sum_i s_i L_i / sum_i s_i. Labels (B,) of several outputs become one-hot targets
    (one class against all others); of one output they are its targets.

    Args:
        weight: w, one number of 0 or more for each output; None: 1 each.
        pos_weight: c, the same, for targets of 1 alone; more than 1 finds more of rare labels.
    """

    source = "Bishop 2006, Pattern recognition and machine learning, section 4.3 and equation 4.90"

    labels = False

    def __init__(self, *, weight: Sequence[float] | None = None, pos_weight: Sequence[float] | None = None) -> None:
        for key, values in (("weight", weight), ("pos_weight", pos_weight)):
            if values is not None and not (len(values) and all(0 <= v < float("inf") for v in values)):
                raise NeurofaError(
                    f"got bce({key}={list(values)}); expected one finite number of 0 or more for each output; correct"
                    " them"
                )
        self.weight, self.pos_weight = weight, pos_weight

    def terms(self, y: Tensor, target: Tensor) -> LossTerms:
        t = values_of(target, y)
        if t.device.type == "cpu" and t.numel():
            low, high = (float(end) for end in t.aminmax())
            if not 0 <= low <= high <= 1:
                raise NeurofaError(
                    f"got targets from {low:g} to {high:g} for bce; expected 0 and 1, or probabilities; use loss mse"
                    " for numbers"
                )
        positive = 1 if self.pos_weight is None else 1 + (_spread("pos_weight", self.pos_weight, y) - 1) * t
        share = 1 / y.shape[1] if self.weight is None else _spread("weight", self.weight, y) / y.shape[1]
        values = ((1 - t) * y + positive * torch.nn.functional.softplus(-y)).mul_(share).sum(1)
        return LossTerms(values, ((1 - t) - positive * torch.sigmoid(-y)).mul_(share), t)


def _spread(key: str, values: Sequence[float], y: Tensor) -> Tensor:
    """Return one number for each output, (o,)."""
    if len(values) != y.shape[1]:
        raise NeurofaError(
            f"got bce with {len(values)} numbers of {key} for {y.shape[1]} outputs; expected one for each; change {key}"
        )
    return torch.tensor(list(values), dtype=y.dtype).to(y.device, non_blocking=True)
