"""Checksums, finiteness and ranges of all datasets, in one pass over the data."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from exports.checks import FileCheck, error_text, from_faults
from exports.files.heap import trim_heap
from exports.hdf5.layout import canonical_bytes, json_value
from exports.hdf5.read import HardwareFile

TRIM_EVERY = 64
"""Datasets between two returns of freed memory to the system."""


def scan_datasets(file: HardwareFile, digests: dict[str, str]) -> list[FileCheck]:
    """Read every dataset once, block by block, and check its checksum, its finiteness and its range.

    Args:
        file: open file.
        digests: SHA-256 of every dataset by its path, as in the manifest.
    """
    faults: dict[str, list[str]] = {"checksums": [], "finite": [], "ranges": []}
    for index, path in enumerate(file.datasets()):
        for check, fault in _dataset_faults(file, path, digests.get(path)).items():
            faults[check].append(fault)
        if index % TRIM_EVERY == 0:
            trim_heap()
    return [
        from_faults(
            "checksums",
            faults["checksums"],
            f"SHA-256 of {len(digests)} datasets and of all attributes" if digests else "none in the file",
        ),
        from_faults("finite", faults["finite"], "no NaN, no infinity"),
        from_faults("ranges", faults["ranges"], "conductances and codes lie within their limits"),
    ]


def _dataset_faults(file: HardwareFile, path: str, wanted: str | None) -> dict[str, str]:
    """Return the faults of one dataset by the name of the check."""
    digest, finite, low, high = hashlib.sha256(), True, np.inf, -np.inf
    try:
        for _, block in file.blocks(path):
            digest.update(canonical_bytes(block))
            if block.size and block.dtype.kind in "fi":
                least, most = block.min(), block.max()
                # NaN is less than nothing, and passes through min and max
                finite = finite and bool(np.isfinite(least) and np.isfinite(most))
                low, high = min(low, least), max(high, most)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return {"checksums": f"'{path}' cannot be read ({error_text(error)})"}
    faults = {}
    if wanted is not None and digest.hexdigest() != wanted:
        faults["checksums"] = f"'{path}' differs from what was written"
    if not finite and not path.startswith("state/"):
        faults["finite"] = f"NaN or infinity in '{path}'"
    limits = _limits(file, path)
    if limits is not None and not (limits[0] <= low and high <= limits[1]):
        unit = f" {json_value(file[path].attrs.get('unit', ''))}".replace(" 1", "")
        expected = f"{limits[0]:g} to {limits[1]:g}{unit}"
        faults["ranges"] = f"'{path}' from {low:g} to {high:g}{unit}; expected {expected}"
    return faults


def _limits(file: HardwareFile, path: str) -> tuple[float, float] | None:
    """Return the smallest and the largest allowed number of codes and conductances; None for other datasets."""
    group, _, name = path.rpartition("/")
    if name == "codes":
        attributes = file.attributes(group)
        return float(attributes["lowest"]), float(attributes["highest"])
    if json_value(file[path].attrs.get("unit", "")) != "S":
        return None
    if file.kind == "measured" and not name.startswith("target_"):
        return 0.0, math.inf  # a measured conductance may have any value; its tolerance is another check
    attributes = file.attributes(group)
    # a float32 may lie one rounding beyond a limit that is stored in double precision
    low, high = float(attributes["g_min"]), float(attributes["g_max"])
    return max(0.0, low - 1e-6 * high), high * (1 + 1e-6)
