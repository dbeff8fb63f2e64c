"""Writes to the memory devices of a network, counted by the devices themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from hwmodels.devices.wear import ledgers
from neurofa.core.network import Network
from neurofa.training.learner import Learner


class WriteCount(NamedTuple):
    """Write cycles per device of one matrix since the devices were programmed."""

    mean: float
    """Mean over the devices."""
    largest: float
    """Of the device with most cycles."""
    worn_out: float
    """Share of the devices that have used up their endurance."""


class UpdateWrites(NamedTuple):
    """Writes of one update to the devices of one matrix, averaged over some updates."""

    mean: float
    """Mean over the devices."""
    busiest: float
    """Of the device with most writes in all updates together: it wears first."""
    peak: float
    """Of the device with most writes in each update: an update takes as long as these."""


@dataclass(frozen=True, kw_only=True)
class WriteSummary:
    """Write cycles of all weights whose devices count their writes."""

    mean: float
    """Mean cycles of a weight."""
    largest: float
    """Cycles of the device with most."""
    per_update: float | None
    """Mean cycles of a weight in one update; None: the number of updates is not known."""


def start_counting(network: Network) -> None:
    """Let all memory devices count their writes from now on, which changes nothing else."""
    for name in network.names:
        layer = network.layer(name)
        for key in layer.synapses:
            synapses = layer.synapses[key]
            if synapses.device.describe().write:
                synapses.count_writes()


def write_counts(network: Network) -> dict[str, WriteCount]:
    """Return the counts of every matrix whose device counts (``wear``), by layer, weight and array.

    Args:
        network: trained or not.

    Returns:
        By name, such as ``dense0.weight``; devices of several arrays (Tiki-Taka) give one entry each, with the array's
        name behind. Empty where nothing is counted.
    """
    counts = {}
    for name, cycles, life in _entries(network):
        worn_out = (cycles >= life).double().mean().item()
        counts[name] = WriteCount(cycles.double().mean().item(), cycles.double().max().item(), worn_out)
    return counts


def write_summary(network: Network, updates: int | None = None) -> WriteSummary | None:
    """Return the writes per weight since the weights were programmed; None: no device counts.

    Args:
        network: trained.
        updates: number of updates that were made; None: not known.
    """
    counts = write_counts(network)
    if not counts:
        return None
    sizes = {name: _size(network, name) for name in counts}
    mean = sum(counts[name].mean * size for name, size in sizes.items()) / sum(sizes.values())
    largest = max(count.largest for count in counts.values())
    return WriteSummary(mean=mean, largest=largest, per_update=mean / updates if updates else None)


def writes_per_update(learner: Learner, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, UpdateWrites]:
    """Return the writes of an update to every device, counted while a learner takes some updates.

    Args:
        learner: it is trained; give a copy.
        batches: inputs and targets, one batch for each update.

    Returns:
        By name, as :func:`write_counts`; empty where nothing can be counted.
    """
    start_counting(learner.network)
    first = last = _cycles(learner.network)
    peaks, updates = dict.fromkeys(first, 0.0), 0
    for x, target in batches:
        learner.step(x, target)
        now = _cycles(learner.network)
        for name in now:
            # the busiest device may be another one in each update
            peaks[name] += (now[name] - last[name]).amax().item()
        last, updates = now, updates + 1
    writes = {}
    for name, cell in last.items():
        cycles = (cell - first[name]).double() / updates
        writes[name] = UpdateWrites(cycles.mean().item(), cycles.max().item(), peaks[name] / updates)
    return writes


def _entries(network: Network) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, cycles and endurance of the devices of every array that counts."""
    for name, layer in network.items():
        for key in layer.synapses:
            for array, (cycles, endurance) in ledgers(layer.synapses[key].cells).items():
                yield ".".join(filter(None, (name, key, array))), cycles, endurance


def _cycles(network: Network) -> dict[str, Tensor]:
    return {name: cycles.clone() for name, cycles, _ in _entries(network)}


def _size(network: Network, name: str) -> int:
    """Return the number of weights behind the entry ``layer.weight`` or ``layer.weight.array``."""
    layer, key = name.split(".")[:2]
    return network.layer(layer).synapses[key].weight.numel()
