"""The ledger of writes: what the memory devices of a network have been through."""

from __future__ import annotations

from typing import NamedTuple

from neurofa.network import Network


class Count(NamedTuple):
    """Cycles of the devices of one matrix since they were programmed."""

    mean: float
    largest: float
    worn_out: float
    """Share of the devices that have used up their endurance."""


def ledger(network: Network) -> dict[str, Count]:
    """Counts of every matrix whose device keeps a ledger (``wear``), by layer, weight and array.

    Args:
        network: trained or not.

    Returns:
        By name, such as ``dense0.weight``; devices of several arrays (Tiki-Taka) give one entry each, with the array's
        name behind. Empty where nothing is counted.
    """
    found = {}
    for name, layer in network.items():
        for key in layer.synapses:
            cells = layer.synapse(key).cells
            for cell in cells:
                if cell == "cycles" or cell.endswith("_cycles"):
                    array = cell.removesuffix("cycles").replace("inner_", "").strip("_")
                    cycles, life = cells[cell].double(), cells[cell.removesuffix("cycles") + "endurance"]
                    found[".".join(filter(None, (name, key, array)))] = Count(
                        cycles.mean().item(), cycles.max().item(), (cycles >= life).double().mean().item()
                    )
    return found
