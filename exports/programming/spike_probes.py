"""Spike probes: random spikes to send into a network with a memory, and the spikes of its layers."""

from __future__ import annotations

import torch
from torch import Tensor

from neurofa.core.layer import facts_of
from neurofa.core.network import Network, evaluating
from neurofa.core.randomness import generator
from neurofa.training.evaluation import respond

TICKS, RATE = 20, 0.3
"""Ticks of a random probe, and the probability of a spike in each."""


def random_spikes(shape: tuple[int, ...], ticks: int, samples: int, seed: int) -> Tensor:
    """Draw random spikes of rate :data:`RATE`: (T, B, *shape) of 0 and 1.

    Args:
        shape: shape of one sample in one tick.
        ticks: T.
        samples: B.
        seed: of the draw.
    """
    return (torch.rand(ticks, samples, *shape, generator=generator(seed, "probe spikes")) < RATE).float()


def spike_responses(network: Network, xs: Tensor, gen: torch.Generator | None = None) -> dict[str, Tensor]:
    """Return outputs and spikes of a network in evaluation mode.

    Args:
        network: the network, whose training mode is restored.
        xs: (T, B, *input_shape).
        gen: source of the noise that the network models.

    Returns:
        ``output`` (T, B, o), and ``spikes.LAYER`` (T, B, *out_shape) of every layer that spikes.
    """
    spiking = [name for name, layer in network.items() if (memory := facts_of(layer).memory()) and memory.spiking]
    parts: dict[str, list[Tensor]] = {"output": [], **{f"spikes.{name}": [] for name in spiking}}
    samples = xs.shape[1]
    with evaluating(network):
        for _, ticks, tick in respond(network, xs, gen=gen):
            parts["output"].append(tick.y.view(ticks, samples, *tick.y.shape[1:]).clone())
            for name in spiking:
                y = tick.views[name].y
                parts[f"spikes.{name}"].append(y.view(ticks, samples, *y.shape[1:]).clone())
    return {name: torch.cat(chunks) for name, chunks in parts.items()}
