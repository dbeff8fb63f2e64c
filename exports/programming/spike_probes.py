"""Networks with a memory under probes: spikes to send in, and what every layer makes of them."""

from __future__ import annotations

import torch
from torch import Tensor

from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.spiking.temporal import Temporal
from neurofa.training.evaluation import respond

TICKS, RATE = 20, 0.3
"""Of drawn probes: ticks, and the probability of a spike in each."""


def drawn(shape: tuple[int, ...], ticks: int, samples: int, seed: int) -> Tensor:
    """Random spikes: (T, B, *shape) of 0 and 1."""
    return (torch.rand(ticks, samples, *shape, generator=generator(seed, "probe spikes")) < RATE).float()


def responses(network: Network, xs: Tensor, gen: torch.Generator | None = None) -> dict[str, Tensor]:
    """What a network in evaluation mode makes of sequences, by :func:`neurofa.spiking.sequence.respond`.

    Args:
        network: its mode is left as it was.
        xs: (T, B, *input_shape).
        gen: source of the noise that the network models.

    Returns:
        ``output`` (T, B, o), and ``spikes.LAYER`` (T, B, *out_shape) of every layer that spikes.
    """
    firing = [name for name, layer in network.items() if isinstance(layer, Temporal) and layer.neuron.spiking]
    found: dict[str, list[Tensor]] = {"output": [], **{f"spikes.{name}": [] for name in firing}}
    training, samples = network.training, xs.shape[1]
    network.eval()
    try:
        for _, ticks, tick in respond(network, xs, gen=gen):
            found["output"].append(tick.y.view(ticks, samples, *tick.y.shape[1:]).clone())
            for name in firing:
                y = tick.views[name].y
                found[f"spikes.{name}"].append(y.view(ticks, samples, *y.shape[1:]).clone())
    finally:
        network.train(training)
    return {name: torch.cat(parts) for name, parts in found.items()}
