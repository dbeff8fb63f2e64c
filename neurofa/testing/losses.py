"""Contract of losses: the error is the derivative of the value, weights of samples, wrong targets."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.testing.tools import require
from neurofa.core.loss import Loss, LossResult
from neurofa.core.randomness import generator
from neurofa.testing.contract import Contract, require_close

CONTRACT = Contract("loss")
CONTRACT(CONTRACT.is_documented)

STEP = 1e-6
"""Change of one output in a difference quotient, in float64."""


def _case(name: str, n: int = 5) -> tuple[Loss, Tensor, Tensor]:
    """Return a loss, outputs (n, 4) in float64, and targets that it takes: labels, or values between 0 and 1."""
    loss: Loss = build("loss", name)
    gen = generator(0, "outputs")
    y = torch.randn(n, 4, generator=gen, dtype=torch.float64)
    labels = torch.randint(4, (n,), generator=gen)
    return loss, y, labels if loss.labels else torch.rand(n, 4, generator=gen, dtype=torch.float64)


@CONTRACT
def error_is_the_derivative(name: str) -> None:
    """The error is B times the derivative of the mean loss, with and without weights of samples."""
    loss, y, target = _case(name)
    weight = torch.rand(len(y), generator=generator(1, "weights"), dtype=y.dtype)

    def plain(y: Tensor) -> LossResult:
        return loss.evaluate(y, target)

    def with_weights(y: Tensor) -> LossResult:
        return loss.weighted(y, target, weight)

    for of in (plain, with_weights):
        error = of(y).error
        quotient = torch.zeros_like(y)
        for i in range(y.numel()):
            step = torch.zeros_like(y)
            step.view(-1)[i] = STEP
            quotient.view(-1)[i] = (of(y + step).value - of(y - step).value) / (2 * STEP)
        require_close(error, quotient * len(y), "error", 1e-7)


@CONTRACT
def is_pure(name: str) -> None:
    """Outputs and targets are not changed, and a second evaluation gives the same numbers."""
    loss, y, target = _case(name)
    kept = y.clone(), target.clone()
    first = loss.evaluate(y, target)
    before = [part.clone() for part in first[:3]]
    second = loss.evaluate(y, target)
    require(torch.equal(y, kept[0]) and torch.equal(target, kept[1]), "outputs or targets were changed in place")
    require(all(torch.equal(a, b) for a, b in zip(before, second[:3], strict=True)), "two evaluations differ")
    require(first.value.dim() == 0 and first.error.shape == first.target.shape == y.shape, "shapes of the result")


@CONTRACT
def samples_are_independent(name: str) -> None:
    """Without weights the error of a sample does not depend on the others, and the value is the mean."""
    loss, y, target = _case(name)
    whole = loss.evaluate(y, target)
    single = [loss.evaluate(y[i : i + 1], target[i : i + 1]) for i in range(len(y))]
    require_close(torch.cat([one.error for one in single]), whole.error, "errors of single samples", 1e-12)
    require_close(torch.stack([one.value for one in single]).mean(), whole.value, "mean of single samples", 1e-12)


@CONTRACT
def weights_are_relative(name: str) -> None:
    """Equal weights change nothing; a weight of 0 leaves a sample out; a batch without weight teaches nothing."""
    loss, y, target = _case(name)
    plain = loss.evaluate(y, target)
    equal = loss.weighted(y, target, torch.full((len(y),), 3.0))
    require_close(equal.value, plain.value, "loss with equal weights", 1e-12)
    require_close(equal.error, plain.error, "error with equal weights", 1e-12)
    weight = torch.ones(len(y))
    weight[1] = 0
    rest = torch.arange(len(y)) != 1
    without, fewer = loss.weighted(y, target, weight), loss.evaluate(y[rest], target[rest])
    require_close(without.value, fewer.value, "loss without one sample", 1e-12)
    require(not bool(without.error[1].any()), "a sample of weight 0 has an error")
    # the learner divides by all samples
    require_close(without.error[rest] / len(y), fewer.error / (len(y) - 1), "error without one sample", 1e-12)
    none = loss.weighted(y, target, torch.zeros(len(y)))
    require(float(none.value) == 0 and not bool(none.error.any()), "a batch without weight has a loss or an error")


@CONTRACT
def refuses_wrong_targets(name: str) -> None:
    """Targets and weights of another shape, and labels out of range, are refused by one line."""
    loss, y, target = _case(name)
    wrong = [target[:-1], target.unsqueeze(0), torch.full((len(y),), 9), torch.full((len(y),), -1)]
    weights = [torch.ones(len(y) + 1), torch.full((len(y),), -1.0), torch.full((len(y),), float("nan"))]
    cases = [(bad, None) for bad in wrong] + [(target, bad) for bad in weights]
    for bad, weight in cases:
        try:
            if weight is None:
                loss.evaluate(y, bad)
            else:
                loss.weighted(y, bad, weight)
        except NeurofaError as error:
            require("; expected" in str(error) and "\n" not in str(error), f"the message is '{error}'")
            continue
        raise AssertionError(f"targets {tuple(bad.shape)} with weights {weight} were accepted")


loss_checks, check_loss = CONTRACT.named, CONTRACT.hold
