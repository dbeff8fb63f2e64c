"""Synthetic data of a random teacher network, of any size and difficulty."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from experiments.data.base import Dataset, synthetic
from experiments.data.split import Split
from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe


@recipe("data", "teacher", source="Gardner, Derrida, J. Phys. A 22 (1989) 1983: the teacher-student set-up")
def teacher(
    *,
    n_in: int = 100,
    hidden: tuple[int, ...] = (100,),
    classes: int = 10,
    samples: int = 10000,
    validation: int = 1000,
    test: int = 2000,
    noise: float = 0.0,
    task: Literal["classification", "regression"] = "classification",
    seed: int = 0,
) -> Dataset:
    r"""Gaussian inputs with the answers of a random tanh network: z = W_L tanh(... tanh(W_1 x)) / s, with noise.

    Weights are drawn from N(0, 1/n) with n the layer's inputs, and s is the deviation of each output over the train
    split, so that noise is measured in deviations of the clean answer.

    Args:
        n_in: number of inputs.
        hidden: widths of the teacher's hidden layers; an empty list makes it linear.
        classes: number of classes, or of targets of a regression.
        samples: number of training samples.
        validation: number of samples for validation.
        test: number of samples for the test.
        noise: deviation of Gaussian noise on the answers, in deviations of the clean answer.
        task: ``classification``: the label is the largest answer; ``regression``: the answers are the targets.
        seed: of the teacher and the data.

    Returns:
        Inputs of shape (n_in,).

    Raises:
        NeurofaError: a size below 1 or negative noise.
    """
    _check(n_in=n_in, hidden=hidden, classes=classes, samples=samples, validation=validation, test=test, noise=noise)
    if task == "classification" and classes < 2:
        raise NeurofaError(f"got teacher(classes={classes}); expected 2 or more; use task=regression for one target")
    gen = torch.Generator().manual_seed(seed)
    x = torch.randn(samples + validation + test, n_in, generator=gen)
    z = answers(x, [n_in, *hidden, classes], gen)
    z = z / z[:samples].std(dim=0, correction=0).clamp_min(torch.finfo(z.dtype).tiny)
    z = z + noise * torch.randn(z.shape, generator=gen)
    y = z.argmax(1) if task == "classification" else z
    ends = (0, samples, samples + validation, len(x))
    train, held, tested = (Split(x[begin:end], y[begin:end]) for begin, end in pairwise(ends))
    return Dataset.of("teacher", (train, held, tested), classes=classes, provenance=synthetic(seed))


def answers(x: Tensor, widths: list[int], gen: torch.Generator) -> Tensor:
    """Return the clean answers of a random tanh network.

    Args:
        x: (N, n_in) inputs.
        widths: widths of all layers, from the inputs to the outputs.
        gen: source of the weights.

    Returns:
        (N, o) outputs of the linear readout.
    """
    last = len(widths) - 2
    for depth, (fan_in, fan_out) in enumerate(pairwise(widths)):
        x = x @ (torch.randn(fan_in, fan_out, generator=gen) / fan_in**0.5)
        x = x if depth == last else x.tanh()
    return x


def _check(*, hidden: tuple[int, ...], validation: int, noise: float, **sizes: int) -> None:
    for name, value in [*sizes.items(), *(("hidden", width) for width in hidden)]:
        if value < 1:
            raise NeurofaError(f"got teacher({name}={value}); expected 1 or more; raise {name}")
    for name, amount in (("validation", validation), ("noise", noise)):
        if amount < 0:
            raise NeurofaError(f"got teacher({name}={amount}); expected 0 or more; raise {name}")
