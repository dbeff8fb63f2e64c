"""What reading and writing memory devices costs, from the figures of their technology."""

from __future__ import annotations

from hwmodels.device import Device
from hwmodels.device_models.nested import device_chain
from hwmodels.device_models.programmed import Programmed
from hwmodels.figures import TECHNOLOGIES, Figure, Technology
from neurofa.costs.line import Cost, count, over, times
from neurofa.costs.writes import Writes


def technology(device: Device) -> tuple[str, Technology]:
    """The technology of a device, or of those inside it, and its figures; an empty name and no figures for none."""
    for each in device_chain(device):
        name: str = getattr(each, "technology", "")
        if name:
            return name, TECHNOLOGIES[name]
    return "", Technology()


def reading(part: str, device: Device, reads: int, products: int, missing: list[str]) -> list[Cost]:
    """Reads of an array.

    Args:
        part: of the update.
        device: of its cells.
        reads: weights that are read, each time that they are.
        products: vectors that go through arrays one after the other.
        missing: takes what no figure is known for.
    """
    known = technology(device)[1]
    found = [
        count(part, "weights read", reads, "vectors × connections of each"),
        count(part, "products of arrays", products, "vectors, one after the other"),
    ]
    missing.append(f"{part}: energy and time of converters (DAC, ADC) and of charging lines, C V²: no figure")
    if known.read_energy is not None:
        found.append(times(part, "energy of the cells", reads, known.read_energy, "weights read × V² G t"))
    else:
        missing.append(f"{part}: read energy of {device.name}: no figure")
    seconds = known.read_time or integration(device)
    if seconds is not None:
        found.append(times(part, "time of the reads", products, seconds, "products × duration of a read"))
    else:
        missing.append(f"{part}: read time of {device.name}: no figure")
    return found


def integration(device: Device) -> Figure | None:
    """The time over which a read averages, where the device's noise model states it."""
    for each in device_chain(device):
        seconds = getattr(each, "T_READ", None)
        if isinstance(each, Programmed) and seconds is not None:
            source = f"{type(each).source}: t_read of the noise model"
            return Figure(low=seconds, high=seconds, unit="s", source=source, verified=each.verified)
    return None


def writing(device: Device, writes: dict[str, Writes], sizes: dict[str, int], missing: list[str]) -> list[Cost]:
    """Writes of one update, and how many updates the devices live through.

    Args:
        device: that stores the weights.
        writes: mean and largest number of writes of a device in one update, by weight.
        sizes: number of devices, by weight.
        missing: takes what no figure is known for.
    """
    name, known = technology(device)
    total, weights = sum(writes[key].mean * sizes[key] for key in writes), sum(sizes[key] for key in writes)
    mean, busiest = total / weights, max(each.busiest for each in writes.values())
    peak = max(each.peak for each in writes.values())
    elements = written_together(device)
    one = "pulse" if elements == 1 else "programming write"
    ledger = "ledger of some updates"
    found = [
        count("update", f"{one}s of a weight, mean", mean, ledger, "measured"),
        count("update", f"{one}s of the busiest weight", busiest, ledger, "measured"),
        count("update", f"{one}s of all weights", total, ledger, "measured"),
    ]
    if elements > 1:
        missing.append("update: the verifying reads and repeated tries of write-verify: number not known")
    if not name:
        missing.append(f"update: write energy, write time and endurance of {device.name}: no technology, no figure")
        return found
    if known.write_energy is not None:
        formula = f"{one}s × {elements} devices × energy of one" if elements > 1 else f"{one}s × energy of one"
        found.append(times("update", "energy of the writes", total * elements, known.write_energy, formula))
    if known.write_time is not None:
        formula = f"most {one}s of a weight in an update ({peak:.3g}) × time of one; all weights at once"
        found.append(times("update", "time of the writes, at least", peak, known.write_time, formula))
    if known.endurance is not None and total:
        for who, each in (("mean", mean), ("busiest", busiest)):
            formula = f"endurance / {one}s of that weight in an update"
            found.append(over("life", f"updates of the {who} weight", known.endurance, each, "", formula))
    return found


def written_together(device: Device) -> int:
    """Devices that one write of a weight programs: the pairs of write-verify; a pulse goes to one."""
    for each in device_chain(device):
        if isinstance(each, Programmed):
            return 2 * int(getattr(each, "devices", 1))
    return 1
