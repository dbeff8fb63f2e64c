"""All checks of a file that need the file alone."""

from __future__ import annotations

from exports.checks import FileCheck, from_faults, guarded
from exports.hdf5.copies import check_copies, check_products
from exports.hdf5.layout import attributes_digest, json_value, manifest_digest
from exports.hdf5.read import HardwareFile
from exports.hdf5.scan import scan_datasets
from exports.schema import schema_faults
from hwmodels.errors import NeurofaError


def file_checks(file: HardwareFile) -> list[FileCheck]:
    """Check schema, manifest, checksums, finite numbers, ranges, shapes, copies of matrices, and products of matrices.

    Nothing large is held as a whole but a column of tiles while it is compared with its matrix.
    """
    digests = _manifest(file)
    checks = [
        guarded("schema", lambda: from_faults("schema", _schema_faults(file), "follows version 1")),
        guarded("manifest", lambda: _check_manifest(file, digests)),
        *scan_datasets(file, digests),
        guarded("shapes", lambda: from_faults("shapes", _shape_faults(file), "matrices, tiles and probes fit")),
    ]
    if file.kind == "network":
        checks += [guarded("copies", lambda: check_copies(file)), guarded("products", lambda: check_products(file))]
    return checks


def require_intact(file: HardwareFile) -> None:
    """Refuse a file whose numbers are not what was written; one without digests, as a lab writes it, is taken.

    Raises:
        NeurofaError: with the first fault.
    """
    if not has_digests(file):
        return
    digests = _manifest(file)
    for check in (guarded("manifest", lambda: _check_manifest(file, digests)), *scan_datasets(file, digests)[:1]):
        if not check.ok:
            raise NeurofaError(
                f"got '{file.path}' whose {check.name} do not hold ({check.detail}); expected a file as it was written;"
                " copy it again, or export anew"
            )


def has_digests(file: HardwareFile) -> bool:
    """Return whether a file lists digests, or had some."""
    return "manifest" in file or "manifest_sha256" in file.h5.attrs


def _schema_faults(file: HardwareFile) -> list[str]:
    faults = schema_faults(file.h5, file.kind)
    return faults if has_digests(file) else [fault for fault in faults if "manifest" not in fault]


def _manifest(file: HardwareFile) -> dict[str, str]:
    """Return the SHA-256 of every dataset by its path; nothing where the manifest cannot be read."""
    try:
        paths, digests = (file[f"manifest/{key}"][()] for key in ("path", "sha256"))
        return {json_value(path): json_value(digest) for path, digest in zip(paths, digests, strict=True)}
    except (KeyError, OSError, TypeError, ValueError, RuntimeError):
        return {}


def _check_manifest(file: HardwareFile, digests: dict[str, str]) -> FileCheck:
    if not has_digests(file):
        return FileCheck("manifest", True, "no digests in the file: nothing to compare its numbers with")
    listed, present = set(digests), set(file.datasets())
    faults = [f"dataset '{path}' is missing" for path in sorted(listed - present)]
    faults += [f"dataset '{path}' is not in the manifest" for path in sorted(present - listed)]
    attributes = attributes_digest(file.h5)
    if json_value(file["manifest"].attrs["attributes_sha256"]) != attributes:
        faults.append("attributes differ from what was written")
    if json_value(file.h5.attrs["manifest_sha256"]) != manifest_digest(list(digests.items()), attributes):
        faults.append("the manifest itself differs from what was written")
    return from_faults("manifest", faults, f"{len(digests)} datasets, all there")


def _shape_faults(file: HardwareFile) -> list[str]:
    faults: list[str] = []
    for path in file.tiled():
        faults += _tile_faults(file, path)
    for path in file.datasets():
        if path.startswith("probes/") and path.endswith("/expected"):
            sizes = {file.shape(path.removesuffix("expected") + key) for key in ("expected", "spread", "band")}
            if len(sizes) != 1:
                faults.append(f"answers at '{path}' have shapes {sorted(sizes)}; expected one")
    if "feedback/matrix" in file:
        rows = file.shape("feedback/matrix")[0]
        for name in file.names("feedback/slices"):
            last = file.attributes(f"feedback/slices/{name}")["rows"][1]
            if last > rows:
                faults.append(f"slice of '{name}' ends at row {last} of {rows}")
    return faults


def _tile_faults(file: HardwareFile, path: str) -> list[str]:
    """Return the faults of the tiles of one matrix, which have to cover it."""
    faults, covered = list[str](), 0
    matrix, planes = file.attributes(f"{path}_tiles"), f"{path}_tiles"
    for name in file.names(planes):
        tile, own = f"{planes}/{name}", file.attributes(f"{planes}/{name}")
        sizes = {file.shape(f"{tile}/{key}") for key in file.names(tile) if "reference" not in key}
        if len(sizes) != 1:
            faults.append(f"planes of '{tile}' have shapes {sorted(sizes)}; expected one")
            continue
        rows, columns = sizes.pop()
        covered += rows * columns
        if own["first_input"] + rows > matrix["inputs"] or own["first_output"] + columns > matrix["outputs"]:
            faults.append(f"tile '{tile}' lies outside of its matrix")
    if covered != matrix["inputs"] * matrix["outputs"]:
        faults.append(f"tiles of '{path}' cover {covered} of {matrix['inputs'] * matrix['outputs']} weights")
    return faults
