"""Everything that can be said about a file from the file alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from exports.checks import FileCheck, guarded, told
from exports.files.heap import trim
from exports.hdf5.layout import attributes_digest, digest_block, plain, total
from exports.hdf5.read import Stored
from exports.programming.conductances import weights_of
from exports.programming.integers import BLOCK
from exports.schema import faults as schema_faults


def file_checks(stored: Stored) -> list[FileCheck]:
    """Schema, manifest, checksums, finite numbers, ranges, shapes, copies of matrices, and products of matrices.

    Checksums, finiteness and ranges are found in one pass over the data; nothing large is held as a whole but a matrix
    while its copies are compared.
    """
    scan: dict[str, list[str]] = {"checksums": [], "finite": [], "ranges": []}
    known = _manifest(stored)

    def look() -> None:
        for index, path in enumerate(stored.datasets()):
            _scan(stored, path, known.get(path), scan)
            if index % 64 == 0:
                trim()

    checks: list[tuple[str, Callable[[], FileCheck]]] = [
        ("schema", lambda: told("schema", schema_faults(stored.file, stored.kind), "follows version 1")),
        ("manifest", lambda: _listed(stored, known)),
    ]
    found = [guarded(name, check) for name, check in checks]
    look()
    sizes = f"{len(known)} datasets"
    found.append(told("checksums", scan["checksums"], f"SHA-256 of {sizes} and of all attributes"))
    found.append(told("finite", scan["finite"], "no NaN, no infinity"))
    found.append(told("ranges", scan["ranges"], "conductances and codes lie within their limits"))
    found.append(guarded("shapes", lambda: told("shapes", _shapes(stored), "matrices, tiles and probes fit")))
    if stored.kind == "network":
        found.append(guarded("copies", lambda: _copies(stored)))
        found.append(guarded("products", lambda: told("products", _products(stored), "probe vectors of all matrices")))
    return found


def _manifest(stored: Stored) -> dict[str, str]:
    try:
        paths, digests = (stored.file[f"manifest/{key}"][()] for key in ("path", "sha256"))
    except (KeyError, OSError):
        return {}
    return {plain(path): plain(digest) for path, digest in zip(paths, digests, strict=True)}


def _listed(stored: Stored, known: dict[str, str]) -> FileCheck:
    there = set(stored.datasets())
    faults = [f"dataset '{path}' is missing" for path in sorted(set(known) - there)]
    faults += [f"dataset '{path}' is not in the manifest" for path in sorted(there - set(known))]
    attributes = attributes_digest(stored.file)
    if plain(stored.file["manifest"].attrs["attributes_sha256"]) != attributes:
        faults.append("attributes differ from what was written")
    if plain(stored.file.attrs["manifest_sha256"]) != total(list(known.items()), attributes):
        faults.append("the manifest itself differs from what was written")
    return told("manifest", faults, f"{len(known)} datasets, all there")


def _blocks(item: Any) -> Iterator[np.ndarray[Any, Any]]:
    if not item.shape or not all(item.shape):
        yield np.atleast_1d(item[()])
        return
    step = max(1, BLOCK // max(1, int(np.prod(item.shape[1:], dtype=np.int64))))
    for start in range(0, item.shape[0], step):
        yield item[start : start + step]


def _scan(stored: Stored, path: str, wanted: str | None, found: dict[str, list[str]]) -> None:
    item, digest, finite, low, high = stored.file[path], hashlib.sha256(), True, np.inf, -np.inf
    try:
        for block in _blocks(item):
            digest.update(digest_block(block))
            if block.size and block.dtype.kind in "fi":
                least, most = block.min(), block.max()
                # NaN is not less than anything, and passes through min and max
                finite = finite and bool(np.isfinite(least) and np.isfinite(most))
                low, high = min(low, least), max(high, most)
    except (OSError, RuntimeError) as error:
        found["checksums"].append(f"'{path}' cannot be read ({str(error).splitlines()[0]})")
        return
    if wanted is not None and digest.hexdigest() != wanted:
        found["checksums"].append(f"'{path}' differs from what was written")
    if not finite and not path.startswith("state/"):
        found["finite"].append(f"NaN or infinity in '{path}'")
    limits = _limits(stored, path)
    if limits is not None and not (limits[0] <= low and high <= limits[1]):
        unit = f" {plain(item.attrs.get('unit', ''))}".replace(" 1", "")
        found["ranges"].append(
            f"'{path}' from {low:g} to {high:g}{unit}; expected {limits[0]:g} to {limits[1]:g}{unit}"
        )


def _limits(stored: Stored, path: str) -> tuple[float, float] | None:
    above, _, name = path.rpartition("/")
    if name == "codes":
        group = stored.file[above]
        return float(plain(group.attrs["lowest"])), float(plain(group.attrs["highest"]))
    if plain(stored.file[path].attrs.get("unit", "")) != "S":
        return None
    if stored.kind == "measured" and not name.startswith("target_"):
        return 0.0, float("inf")  # what was measured may lie anywhere; whether it is good is another check
    group = stored.file[above]
    # a float32 may lie one rounding beyond a limit that is stored in double precision
    low, high = float(plain(group.attrs["g_min"])), float(plain(group.attrs["g_max"]))
    return max(0.0, low - 1e-6 * high), high * (1 + 1e-6)


def _shapes(stored: Stored) -> list[str]:
    found: list[str] = []
    for path in stored.tiled():
        about, covered = stored.attributes(f"{path}_tiles"), 0
        for name in stored.file[f"{path}_tiles"]:
            own = stored.attributes(f"{path}_tiles/{name}")
            sizes = {item.shape for key, item in stored.file[f"{path}_tiles/{name}"].items() if "reference" not in key}
            if len(sizes) != 1:
                found.append(f"planes of '{path}_tiles/{name}' have shapes {sorted(sizes)}; expected one")
                continue
            rows, columns = sizes.pop()
            covered += rows * columns
            if own["first_input"] + rows > about["inputs"] or own["first_output"] + columns > about["outputs"]:
                found.append(f"tile '{path}_tiles/{name}' lies outside of its matrix")
        if covered != about["inputs"] * about["outputs"]:
            found.append(f"tiles of '{path}' cover {covered} of {about['inputs'] * about['outputs']} weights")
    for path in stored.datasets():
        if path.startswith("probes/") and path.endswith("/expected"):
            sizes = {stored.file[path.removesuffix("expected") + key].shape for key in ("expected", "spread", "band")}
            if len(sizes) != 1:
                found.append(f"answers at '{path}' have shapes {sorted(sizes)}; expected one")
    if "feedback/matrix" in stored.file and "feedback/slices" in stored.file:
        rows = stored.file["feedback/matrix"].shape[0]
        for name in stored.file["feedback/slices"]:
            last = stored.attributes(f"feedback/slices/{name}")["rows"][1]
            if last > rows:
                found.append(f"slice of '{name}' ends at row {last} of {rows}")
    return found


def _copies(stored: Stored) -> FileCheck:
    """Whole numbers within half a step, conductances within the tolerance, of the floating-point weights."""
    faults: list[str] = []
    worst = {"whole numbers": 0.0, "conductances": 0.0}
    for path in stored.matrices():
        item = stored.file[path]
        if f"{path}_quantized" in stored.file:
            scale, steps = stored.tensor(f"{path}_quantized/scale"), 0.0
            for start, block in _row_blocks(item):
                codes = torch.from_numpy(stored.file[f"{path}_quantized/codes"][start : start + len(block)])
                step, zero = (
                    part[start : start + len(block)] if len(part) > 1 else part
                    for part in (scale, stored.tensor(f"{path}_quantized/zero_point"))
                )
                shape = (-1,) + (1,) * (codes.ndim - 1)
                gap = ((codes.to(step.dtype) - zero.view(shape)) * step.view(shape) - torch.from_numpy(block)).abs()
                steps = max(steps, float((gap / step.view(shape)).amax()))
            worst["whole numbers"] = max(worst["whole numbers"], steps)
            if not steps <= 0.5 + 1e-3:
                faults.append(f"'{path}' differs from its whole numbers by {steps:.3f} steps")
        if f"{path}_tiles" in stored.file:
            off = _conductance_off(stored, path)
            worst["conductances"] = max(worst["conductances"], off)
            if not off <= 1:
                faults.append(f"'{path}' differs from its conductances by {off:.3g} tolerances")
    fine = f"at most {worst['whole numbers']:.3f} steps and {worst['conductances']:.2e} tolerances off"
    return told("copies", faults, fine)


def _row_blocks(item: Any) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    start = 0
    for block in _blocks(item):
        yield start, block
        start += len(block)


def _conductance_off(stored: Stored, path: str) -> float:
    """Largest difference of a weight from its conductances, in tolerances."""
    item, worst, held, slab = stored.file[path], 0.0, (-1, -1), torch.empty(0)
    for _, own, planes in stored.tiles(path):
        w = weights_of(own["map"], own["scale"], {key: g for key, g in planes.items() if key != "faults"})
        first, last = own["first_output"], own["first_output"] + w.shape[1]
        if held != (first, last):  # tiles come column by column: the outputs of one column are read once
            held, slab = (first, last), torch.from_numpy(item[first:last]).flatten(1)
            trim()
        part = slab[:, own["first_input"] : own["first_input"] + w.shape[0]]
        worst = max(worst, float((w - part.t()).abs().amax()) * own["scale"] / own["tolerance"])
    return worst


def _products(stored: Stored) -> list[str]:
    found = []
    for name in stored.file.get("probes", ()):
        of = stored.attributes(f"probes/{name}")["of"]
        if of in ("network", "feedback"):
            continue
        x, y = stored.tensor(f"probes/{name}/input"), stored.tensor(f"probes/{name}/output/expected")
        item, at = stored.file[of], 0
        for block in _blocks(item):
            seen = x @ torch.from_numpy(block).flatten(1).t()
            off = (seen - y[:, at : at + len(block)]).abs()
            at += len(block)
            if bool((off > 1e-4 * y.abs().amax().clamp_min(1e-30)).any()):
                found.append(f"'{of}' does not give the expected products ({float(off.amax()):.3g} off)")
                break
    return found
