"""Firing rates of spiking layers, by which silent ones are found."""

from __future__ import annotations

import torch
from torch import Tensor

from neurofa.core.events import Events
from neurofa.core.network import Network
from neurofa.spiking.sequence import CHUNK
from neurofa.spiking.temporal import Temporal
from neurofa.training.evaluation import respond

SILENT = 1e-4
"""Spikes per neuron and tick below which a layer counts as silent."""


def firing_rates(
    network: Network, xs: Tensor | Events, *, chunk: int = CHUNK, gen: torch.Generator | None = None
) -> dict[str, float]:
    """Return the mean number of spikes per neuron and tick of every layer that spikes; in evaluation mode.

    Args:
        network: its mode is restored.
        xs: (T, B, *input_shape) or events.
        chunk: K, ticks that are computed at once.
        gen: source of noise.
    """
    spiking = [name for name, layer in network.items() if isinstance(layer, Temporal) and layer.neuron.spiking]
    if not spiking:
        return {}
    sums, counts = dict.fromkeys(spiking, 0.0), dict.fromkeys(spiking, 0)
    training = network.training
    network.eval()
    try:
        for _, _, tick in respond(network, xs, chunk=chunk, gen=gen):
            for name in spiking:
                y = tick.views[name].y
                sums[name] += float(y.sum())
                counts[name] += y.numel()
    finally:
        network.train(training)
    return {name: sums[name] / counts[name] for name in spiking}
