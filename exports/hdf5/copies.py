"""Copies of matrices and products of probe vectors, against the floating-point weights."""

from __future__ import annotations

import torch

from exports.checks import FileCheck, from_faults
from exports.files.heap import trim_heap
from exports.hdf5.read import HardwareFile
from exports.programming.integers import per_row


def check_copies(file: HardwareFile) -> FileCheck:
    """Compare whole numbers (within half a step) and conductances (within the tolerance) with the weights."""
    faults: list[str] = []
    worst = {"whole numbers": 0.0, "conductances": 0.0}
    for path in file.matrices():
        if f"{path}_quantized" in file:
            steps = _integer_error(file, path)
            worst["whole numbers"] = max(worst["whole numbers"], steps)
            if not steps <= 0.5 + 1e-3:
                faults.append(f"'{path}' differs from its whole numbers by {steps:.3f} steps")
        if f"{path}_tiles" in file:
            tolerances = _conductance_error(file, path)
            worst["conductances"] = max(worst["conductances"], tolerances)
            if not tolerances <= 1:
                faults.append(f"'{path}' differs from its conductances by {tolerances:.3g} tolerances")
    detail = f"at most {worst['whole numbers']:.3f} steps and {worst['conductances']:.2e} tolerances off"
    return from_faults("copies", faults, detail)


def _integer_error(file: HardwareFile, path: str) -> float:
    """Return the largest difference of a weight from its whole number, in steps."""
    group, worst = f"{path}_quantized", 0.0
    scale, zero = file.tensor(f"{group}/scale"), file.tensor(f"{group}/zero_point")
    # block by block: neither copy is held as a whole
    for start, weights in file.blocks(path):
        rows = slice(start, start + len(weights))
        codes = file.rows(f"{group}/codes", rows)
        step, offset = (per_row(part[rows] if len(part) > 1 else part, codes.ndim) for part in (scale, zero))
        error = ((codes.to(step.dtype) - offset) * step - torch.from_numpy(weights)).abs()
        worst = max(worst, float((error / step).amax()))
    return worst


def _conductance_error(file: HardwareFile, path: str) -> float:
    """Return the largest difference of a weight from its conductances, in tolerances."""
    worst, columns, slab = 0.0, (-1, -1), torch.empty(0)
    for tile in file.tiles(path):
        own, weights = tile.attributes, tile.weights
        first, last = own["first_output"], own["first_output"] + weights.shape[1]
        if columns != (first, last):  # tiles come column by column: the outputs of one column are read once
            columns, slab = (first, last), file.rows(path, slice(first, last)).flatten(1)
            trim_heap()
        wanted = slab[:, own["first_input"] : own["first_input"] + weights.shape[0]]
        # the scale turns a distance of weights into one of conductances, S, as the tolerance is
        worst = max(worst, float((weights - wanted.t()).abs().amax()) * own["scale"] / own["tolerance"])
    return worst


def check_products(file: HardwareFile) -> FileCheck:
    """Multiply every matrix by its probe vectors, and compare with the products in the file, up to rounding."""
    faults = []
    for name in file.names("probes"):
        path = file.attributes(f"probes/{name}")["of"]
        if path in ("network", "feedback"):
            continue
        x, y = file.tensor(f"probes/{name}/input"), file.tensor(f"probes/{name}/output/expected")
        allowed = 1e-4 * y.abs().amax().clamp_min(1e-30)
        for start, weights in file.blocks(path):
            product = x @ torch.from_numpy(weights).flatten(1).t()
            error = (product - y[:, start : start + len(weights)]).abs()
            if bool((error > allowed).any()):
                faults.append(f"'{path}' does not give the expected products ({float(error.amax()):.3g} off)")
                break
    return from_faults("products", faults, "probe vectors of all matrices")
