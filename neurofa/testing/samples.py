"""Small networks, batches and learners on which the contract checks run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.recipes import takes_tokens
from neurofa.training.learner import Learner

NETWORKS = {
    "mlp": "mlp(hidden=[12, 10])",
    "cnn": "cnn(channels=[3, 4], kernel=3, hidden=10, norm=batch)",
    "vgg": "vgg(plan=[4, M, 6])",
    "snn": "snn(hidden=[12, 10], recurrent=True)",
    "vit": "vit(patch=4, width=8, depth=1, heads=2)",
    "gpt": "gpt(width=8, depth=1, heads=2)",
}
"""Specs of small networks by short name."""
INPUT_SHAPE = (1, 8, 8)
OUTPUTS = 5
TOKENS = (6,)
"""Shape of one sample of tokens, of a vocabulary of ``OUTPUTS``."""


def small_network(spec: str, *, device: str = "digital", seed: int = 0) -> Network:
    """Build a small network of ``OUTPUTS`` outputs on images of ``INPUT_SHAPE``.

    Args:
        spec: a short name of ``NETWORKS``, or a spec.
        device: spec of the device for the affine weights.
        seed: of the weights.
    """
    spec = NETWORKS.get(spec, spec)
    shape = TOKENS if takes_tokens(spec) else INPUT_SHAPE
    network: Network = build("network", spec, input_shape=shape, outputs=OUTPUTS, seed=seed, device=device)
    return network


def random_batch(n: int = 6, *, shape: tuple[int, ...] = INPUT_SHAPE, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw inputs and labels.

    Args:
        n: samples.
        shape: of one sample.
        seed: of both.

    Returns:
        Inputs (n, *shape), standard normal, and labels (n,) from 0 to ``OUTPUTS`` - 1.
    """
    gen = generator(seed, "batch")
    return torch.randn(n, *shape, generator=gen), torch.randint(OUTPUTS, (n,), generator=gen)


def batch_for(network: Network, n: int = 6, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw inputs and labels that a network accepts: images, or tokens with a label for each.

    Args:
        network: of :func:`small_network`.
        n: samples.
        seed: of both.
    """
    if network.vocabulary is None:
        return random_batch(n, shape=network.input_shape, seed=seed)
    gen = generator(seed, "batch")
    shape = (n,) if network.positions is None else (n, network.positions)
    return network.example(n, gen), torch.randint(network.outputs, shape, generator=gen)


def plain_sgd(network: Network, lr: float = 0.1) -> torch.optim.Optimizer:
    """Return SGD without momentum over the network's weights."""
    return torch.optim.SGD(network.parameters(), lr=lr)


def small_learner(
    rule: str, spec: str = "mlp", *, device: str = "digital", seed: int = 0, double: bool = False, **options: Any
) -> Learner:
    """Return a learner of a small network with plain SGD.

    Args:
        rule: spec of the rule.
        spec: of the network, as for :func:`small_network`.
        device: spec of the device for the affine weights.
        seed: of weights and learner.
        double: whether the network is in float64.
        options: of :class:`~neurofa.training.learner.Learner` (``clip``, ``accumulate``, ``loss``).
    """
    network = small_network(spec, device=device, seed=seed)
    if double:
        network.double()
    return Learner(network, rule, optimizer=plain_sgd(network), seed=seed, **options)
