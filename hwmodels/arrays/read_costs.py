"""Energy and time of reading arrays of memory devices, from the published figures of their technology."""

from __future__ import annotations

from hwmodels.device import Device
from hwmodels.figures import CostLine, CostReport


def read_costs(device: Device, reads: int, products: int) -> CostReport:
    """Return counts, energy and time of products with weights in arrays of memory devices.

    Args:
        device: the device that stores a weight.
        reads: number of weights that are read, each counted as often as it is.
        products: number of vectors that go through the arrays, one after the other.
    """
    known = device.describe()
    lines = [
        CostLine.counted("weights read", reads, "vectors × connections of each"),
        CostLine.counted("products of arrays", products, "vectors, one after the other"),
    ]
    missing = ["energy and time of converters (DAC, ADC) and of charging lines, C V²: no figure"]
    if known.figures.read_energy is not None:
        lines.append(CostLine.scaled("energy of the cells", reads, known.figures.read_energy, "weights read × V² G t"))
    else:
        missing.append(f"read energy of {device.name}: no figure")
    seconds = known.figures.read_time or known.read_time
    if seconds is not None:
        lines.append(CostLine.scaled("time of the reads", products, seconds, "products × duration of a read"))
    else:
        missing.append(f"read time of {device.name}: no figure")
    return CostReport(tuple(lines), tuple(missing))
