"""How well a linear readout separates the classes by the features of each layer.

The ridge regression is scikit-learn's, whose penalty is chosen by the leave-one-out error in closed form.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.data import Dataset
from experiments.data.split import Split
from neurofa.core.network import Network, evaluating
from neurofa.core.randomness import generator

SAMPLES = 1000
"""The probe is fitted to at most that many training samples, and scored on at most that many others."""
INPUT = "input"
"""Name of the features that no layer computes."""
PENALTIES = [10.0**k for k in range(-7, 2)]
"""Candidates for lambda, in units of the trace of the Gram matrix of the centred features."""


@torch.no_grad()
def probe_scores(
    network: Network, dataset: Dataset, *, seed: int = 0, samples: int = SAMPLES, of_input: bool = True
) -> dict[str, Any]:
    """Fit a ridge regression to the features of each hidden layer, and score it on samples that it has not seen.

    The fit (:func:`ridge_predictions`) is to one-hot labels, or to the values of a regression. Features are those of
    evaluation mode. The fit sees training samples only; it is scored on validation samples, or, where none are held
    out, on training samples that it left out (which the network has seen).

    Args:
        network: the network, whose training mode is restored.
        dataset: the data, on whose compute device the network lies.
        seed: seed of the read noise of the network's device.
        samples: largest number for the fit, and for the score.
        of_input: whether the inputs themselves are scored too, as ``"input"``.

    Returns:
        ``layers``: by name, from the input on without the readout, the share of right labels of the held-out samples,
        or R^2 of a regression; ``held_out``: the number of these samples.
    """
    held = probe_splits(dataset, samples)[1]
    errors = probe_errors(network, dataset, seed=seed, samples=samples, of_input=of_input)
    return {"held_out": len(held), "layers": {name: probe_score(each, held) for name, each in errors.items()}}


@torch.no_grad()
def probe_errors(
    network: Network, dataset: Dataset, *, seed: int = 0, samples: int = SAMPLES, of_input: bool = True
) -> dict[str, Tensor]:
    """Return the errors of the probes of :func:`probe_scores` by sample, to compare networks on the same samples.

    Args:
        network: the network, whose training mode is restored.
        dataset: the data, on whose compute device the network lies.
        seed: seed of the read noise of the network's device.
        samples: largest number for the fit, and for the score.
        of_input: whether the inputs themselves are probed too.

    Returns:
        By layer (N,): 0 for a right and 1 for a wrong label, or the squared error of a regression.
    """
    fit, held = probe_splits(dataset, samples)
    fit_features, held_features = (_features(network, split, dataset.compute, seed) for split in (fit, held))
    target = fit.y if dataset.regression else torch.nn.functional.one_hot(fit.y, dataset.classes)
    errors = {}
    for name, x in fit_features.items():
        if of_input or name != INPUT:
            y = ridge_predictions(x, target, held_features[name])[0]
            wrong = (y - held.y.cpu()).square().sum(1) if dataset.regression else y.argmax(1) != held.y.cpu()
            errors[name] = wrong.double()
    return errors


def probe_score(errors: Tensor, held: Split) -> float | None:
    """Return the share of right labels, or R^2 of a regression (None where the targets do not vary).

    Args:
        errors: (N,) from :func:`probe_errors`.
        held: the samples that they belong to.
    """
    if not held.y.is_floating_point():
        return 1 - float(errors.mean())
    power = float((held.y.double() - held.y.double().mean(0)).square().sum())
    return 1 - float(errors.sum()) / power if power > 0 else None


def probe_splits(dataset: Dataset, samples: int = SAMPLES) -> tuple[Split, Split]:
    """Return the samples to which a linear probe is fitted, and those on which it is scored.

    The second are validation samples or, where none are held out, training samples that the fit leaves out.

    Args:
        dataset: the data.
        samples: largest number of either.
    """
    train, held = dataset.train, dataset.validation
    if len(held):
        return _cut(train, 0, samples), _cut(held, 0, samples)
    half = min(samples, len(train) // 2)
    return _cut(train, 0, half), _cut(train, half, 2 * half)


def _cut(split: Split, start: int, stop: int) -> Split:
    return Split(split.x[start:stop], split.y[start:stop])


def _features(network: Network, split: Split, device: torch.device, seed: int) -> dict[str, Tensor]:
    """Return the outputs of every hidden layer with weights, (N, n) by name."""
    gen = generator(seed, "separability", device=device)
    with evaluating(network):
        x = split.x.to(device)
        features = {INPUT: x.flatten(1)}
        for name, layer in network.items():
            params = layer.synapses.read(gen)
            x = layer.compute(params, x, layer.fresh_state(x, gen))[0]
            if params and name != network.readout:
                features[name] = x.flatten(1)
    return features


def ridge_predictions(x: Tensor, y: Tensor, unseen: Tensor) -> tuple[Tensor, float]:
    """Predict by ridge regression with an intercept, min_W ||Y - X W||^2 + lambda ||W||^2 with centred X and Y.

    Args:
        x: (N, n) features.
        y: (N, o) targets.
        unseen: (M, n) features to predict from.

    Returns:
        (M, o) predictions, float64 on the CPU; and lambda, in units of the trace of X X^T.
    """
    from sklearn.linear_model import RidgeCV

    a, b, c = (values.double().cpu() for values in (x, y, unseen))
    trace = float((a - a.mean(0)).square().sum())
    if not trace > 0:  # dead features: the mean is the best prediction
        return b.mean(0).expand(len(c), -1), PENALTIES[0]
    model = RidgeCV(alphas=[penalty * trace for penalty in PENALTIES]).fit(a.numpy(), b.numpy())
    return torch.from_numpy(model.predict(c.numpy())), float(model.alpha_) / trace
