"""Checks of measured files: devices out of tolerance, by address, and probes outside of their pass bands."""

from __future__ import annotations

import torch
from torch import Tensor

from exports.checks import FileCheck, from_faults
from exports.hdf5.read import HardwareFile, StoredTile

SHOWN = 8
"""Devices out of tolerance that one line names."""


def measured_checks(file: HardwareFile) -> list[FileCheck]:
    """Check whether measured conductances are within tolerance, and measured products within their pass bands."""
    return [_check_tolerance(file), _check_probes(file)]


def _check_tolerance(file: HardwareFile) -> FileCheck:
    worst: list[tuple[float, str]] = []
    outside = total = 0
    for path in file.tiled():
        for tile in file.tiles(path):
            for plane, measured in tile.conductances.items():
                wanted = tile.planes.get(f"target_{plane}")
                if wanted is None:
                    continue
                error = (measured - wanted).abs()
                bad = torch.nonzero(error > tile.attributes["tolerance"])
                outside, total = outside + len(bad), total + error.numel()
                for row, column in bad[error[tuple(bad.t())].argsort(descending=True)][:SHOWN].tolist():
                    text = f"{_address(path, tile, plane, row, column)}: {_values(measured, wanted, row, column)}"
                    worst.append((float(error[row, column]), text))
    worst.sort(reverse=True)
    faults = [text for _, text in worst[:SHOWN]]
    if outside:
        faults[0] = f"{outside} of {total} devices are out of tolerance, the worst: {faults[0]}"
    return from_faults("tolerance", faults, f"all {total} devices", most=SHOWN)


def _address(path: str, tile: StoredTile, plane: str, row: int, column: int) -> str:
    first = tile.attributes
    place = f"input {first['first_input'] + row} output {first['first_output'] + column}"
    return f"{path} tile {tile.name} {plane} {place}"


def _values(measured: Tensor, wanted: Tensor, row: int, column: int) -> str:
    return f"{float(measured[row, column]) * 1e6:.4g} for {float(wanted[row, column]) * 1e6:.4g} uS"


def _check_probes(file: HardwareFile) -> FileCheck:
    faults, good = [], 0
    for name in file.names("probes"):
        output = f"probes/{name}/output"
        if f"{output}/measured" in file:
            error = (file.tensor(f"{output}/measured") - file.tensor(f"{output}/expected")).abs()
            outside = int((error > file.tensor(f"{output}/band")).sum())
            good += error.numel() - outside
            if outside:
                faults.append(f"{outside} of {error.numel()} products of '{name}' lie outside of the pass band")
    return from_faults("probes", faults, f"{good} products lie in their pass bands")
