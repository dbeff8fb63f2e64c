"""The ledger of writes: what the memory devices of a network have been through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import Tensor

from hwmodels.device import Device
from hwmodels.device_models.nested import device_chain
from hwmodels.device_models.programmed import Programmed
from hwmodels.device_models.pulses import PulseDriven
from neurofa.core.network import Network
from neurofa.training.learner import Learner


class Count(NamedTuple):
    """Cycles of the devices of one matrix since they were programmed."""

    mean: float
    largest: float
    worn_out: float
    """Share of the devices that have used up their endurance."""


def countable(device: Device) -> bool:
    """Whether writes of a device are those of memory elements, one matrix of them: pulses, or programming."""
    return any(isinstance(each, PulseDriven | Programmed) for each in device_chain(device))


def keep_ledger(network: Network) -> None:
    """Count the writes of all memory devices from now on; they do what they did before."""
    for name in network.names:
        layer = network.layer(name)
        for key in layer.synapses:
            if countable(layer.synapses[key].device):
                layer.synapses[key].count_writes()


def ledger(network: Network) -> dict[str, Count]:
    """Counts of every matrix whose device keeps a ledger (``wear``), by layer, weight and array.

    Args:
        network: trained or not.

    Returns:
        By name, such as ``dense0.weight``; devices of several arrays (Tiki-Taka) give one entry each, with the array's
        name behind. Empty where nothing is counted.
    """
    found = {}
    for name, cycles, life in _entries(network):
        worn_out = (cycles >= life).double().mean().item()
        found[name] = Count(cycles.double().mean().item(), cycles.double().max().item(), worn_out)
    return found


def _entries(network: Network) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, cycles and endurance of the devices of every array that keeps a ledger."""
    for name, layer in network.items():
        for key in layer.synapses:
            cells = layer.synapses[key].cells
            for cell in cells:
                if cell == "cycles" or cell.endswith("_cycles"):
                    array = cell.removesuffix("cycles").replace("inner_", "").strip("_")
                    whole = ".".join(filter(None, (name, key, array)))
                    yield whole, cells[cell], cells[cell.removesuffix("cycles") + "endurance"]


class Writes(NamedTuple):
    """Writes of one update to the devices of one matrix, averaged over some updates."""

    mean: float
    """Of a device."""
    busiest: float
    """Of the device that got most in all of them together: what wears."""
    peak: float
    """Of the device that got most in each of them: what an update waits for."""


def per_update(learner: Learner, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Writes]:
    """Count writes while a learner takes some updates.

    Args:
        learner: trains on, so give a copy.
        batches: of one update each.

    Returns:
        By name, as :func:`ledger`; none where nothing can be counted.
    """
    keep_ledger(learner.network)
    first = last = _cycles(learner.network)
    peaks, updates = dict.fromkeys(first, 0.0), 0
    for x, target in batches:
        learner.step(x, target)
        now = _cycles(learner.network)
        for name in now:
            peaks[name] += (now[name] - last[name]).amax().item()
        last, updates = now, updates + 1
    found = {}
    for name, cell in last.items():
        counts = (cell - first[name]).double() / updates
        found[name] = Writes(counts.mean().item(), counts.max().item(), peaks[name] / updates)
    return found


def _cycles(network: Network) -> dict[str, Tensor]:
    return {name: cycles.clone() for name, cycles, _ in _entries(network)}
