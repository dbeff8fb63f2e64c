"""How well a linear readout could tell the classes apart from the features of each layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.data import Dataset
from experiments.data.split import Split
from neurofa.core.network import Network
from neurofa.core.randomness import generator

SAMPLES = 1000
"""The probe is fitted to at most that many training samples, and judged on at most that many others."""
INPUT = "input"
"""Name of the features that no layer made."""
PENALTIES = [10.0**k for k in range(-7, 2)]
"""Candidates for lambda, in units of the trace of the features' Gram matrix."""


@torch.no_grad()
def separability(
    network: Network, dataset: Dataset, *, seed: int = 0, samples: int = SAMPLES, of_input: bool = True
) -> dict[str, Any]:
    """Fit a ridge regression to the features of each hidden layer, and judge it on samples that it has not seen.

    The fit (:func:`ridge`) is to one-hot labels, or to the values of a regression. Features are those of evaluation
    mode. The fit sees training samples only; it is judged on validation samples, or, where none are held out, on
    training samples that it left out (which the network has seen).

    Args:
        network: as it is; its mode is restored.
        dataset: on whose compute device the network lies.
        seed: of the read noise of the network's device.
        samples: largest number for the fit, and for the judgement.
        of_input: whether the inputs themselves are judged too, as ``"input"``.

    Returns:
        ``layers``: by name, from the input on without the readout, the share of right labels of the held-out samples,
        or R^2 of a regression; ``held_out``: the number of these samples.
    """
    held = parts(dataset, samples)[1]
    errors = probe_errors(network, dataset, seed=seed, samples=samples, of_input=of_input)
    return {"held_out": len(held), "layers": {name: score(each, held) for name, each in errors.items()}}


@torch.no_grad()
def probe_errors(
    network: Network, dataset: Dataset, *, seed: int = 0, samples: int = SAMPLES, of_input: bool = True
) -> dict[str, Tensor]:
    """Errors of the probes of :func:`separability`, sample by sample, for comparing networks on the same samples.

    Args:
        network: as it is; its mode is restored.
        dataset: on whose compute device the network lies.
        seed: of the read noise of the network's device.
        samples: largest number for the fit, and for the judgement.
        of_input: whether the inputs themselves are judged too.

    Returns:
        By layer (N,): 0 for a right and 1 for a wrong label, or the squared error of a regression.
    """
    fit, held = parts(dataset, samples)
    inside, outside = (_features(network, split, dataset.compute, seed) for split in (fit, held))
    y, wanted = fit.y.to(dataset.compute), held.y.to(dataset.compute)
    target = y if dataset.regression else torch.nn.functional.one_hot(y, dataset.classes)
    found = {}
    for name, x in inside.items():
        if of_input or name != INPUT:
            answer = ridge(x, target, outside[name])[0]
            wrong = (answer - wanted).square().sum(1) if dataset.regression else answer.argmax(1) != wanted
            found[name] = wrong.double().cpu()
    return found


def score(errors: Tensor, held: Split) -> float | None:
    """Share of right labels, or R^2 of a regression (None where the targets do not vary)."""
    if not held.y.is_floating_point():
        return 1 - float(errors.mean())
    power = float((held.y.double() - held.y.double().mean(0)).square().sum())
    return 1 - float(errors.sum()) / power if power > 0 else None


def parts(dataset: Dataset, samples: int = SAMPLES) -> tuple[Split, Split]:
    """Samples for the fit, and samples that judge it."""
    train, held = dataset.train, dataset.validation
    if len(held):
        return _between(train, 0, samples), _between(held, 0, samples)
    half = min(samples, len(train) // 2)
    return _between(train, 0, half), _between(train, half, 2 * half)


def _between(split: Split, start: int, stop: int) -> Split:
    return Split(split.x[start:stop], split.y[start:stop])


def _features(network: Network, split: Split, device: torch.device, seed: int) -> dict[str, Tensor]:
    """Outputs of every hidden layer with weights, (N, n) by name."""
    gen = generator(seed, "separability", device=device)
    training = network.training
    network.eval()
    try:
        x = split.x.to(device)
        found = {INPUT: x.flatten(1)}
        for name, layer in network.items():
            params = layer.synapses.read(gen)
            x = layer.compute(params, x, layer.fresh_state(x, gen))[0]
            if params and name != network.readout:
                found[name] = x.flatten(1)
    finally:
        network.train(training)
    return found


def ridge(x: Tensor, y: Tensor, unseen: Tensor) -> tuple[Tensor, float]:
    """Ridge regression with an intercept, its penalty chosen by the leave-one-out error; all of it in closed form.

    min_W ||Y - X W||^2 + lambda ||W||^2 with centred X and Y. From one eigendecomposition X^T X = V S V^T, or of
    X X^T where that is smaller, and Z = X V: the fit is Z (S + lambda)^-1 Z^T Y, and leaving sample i out changes its
    residual from r_i to r_i / (1 - h_i), with h_i = 1/N + sum_j Z_ij^2 / (S_j + lambda).

    Args:
        x: (N, n) features.
        y: (N, o) targets.
        unseen: (M, n) features to answer.

    Returns:
        (M, o) answers, float64; and lambda, in units of the trace of X X^T.
    """
    a, b = x.double(), y.double()
    a, middle = a - a.mean(0), a.mean(0)
    b, level = b - b.mean(0), b.mean(0)
    trace = float(a.square().sum())
    if not trace > 0:  # dead features: the mean is the best answer
        return level.expand(len(unseen), -1), PENALTIES[0]
    if a.shape[1] <= len(a):
        s, v = torch.linalg.eigh(a.t() @ a / trace)
    else:
        s, u = torch.linalg.eigh(a @ a.t() / trace)
        kept = s > torch.finfo(s.dtype).eps * len(s)
        s, u = s[kept], u[:, kept]
        v = a.t() @ u / (s * trace).sqrt()
    z = a @ v / trace**0.5
    weights = z.t() @ b
    errors = []
    for penalty in PENALTIES:
        fit = z / (s + penalty) @ weights
        leverage = 1 / len(a) + (z.square() / (s + penalty)).sum(1, keepdim=True)
        errors.append(float(((b - fit) / (1 - leverage)).square().sum()))
    best = PENALTIES[errors.index(min(errors))]
    there = (unseen.double() - middle) @ v / trace**0.5
    return there / (s + best) @ weights + level, best
