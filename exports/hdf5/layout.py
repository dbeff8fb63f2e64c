"""Format and version of exported files, JSON values of their attributes, and checksums."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from exports.files.optional import require_library

FORMAT, VERSION = "neurofa-hardware", "1.0"

PACKED, LARGEST_ATTRIBUTE = 2000, 2**24
"""How far gzip can pack bytes that are all equal; and the largest attribute that is read, bytes."""
METADATA = 2**17
"""Bytes of metadata, in their stored form, that HDF5 keeps in its cache; in memory they take several times as much."""


def limit_metadata_cache(file: Any) -> None:
    """Keep HDF5 from holding the metadata of thousands of tiles in memory."""
    cache = file.id.get_mdc_config()
    cache.set_initial_size, cache.initial_size = True, METADATA
    cache.min_size, cache.max_size = METADATA // 2, METADATA
    file.id.set_mdc_config(cache)


def require_plausible(file: Any) -> None:
    """Refuse an open file that claims more numbers than it can hold: reading them would take hours and all memory.

    Raises:
        OSError: an attribute or a dataset whose size is damaged.
    """
    h5py = require_library("h5py")
    whole = file.id.get_filesize()
    largest, most = whole * PACKED + LARGEST_ATTRIBUTE, min(whole, LARGEST_ATTRIBUTE)  # attributes are not compressed

    def check(path: str, item: Any) -> None:
        for name in item.attrs:
            size = item.attrs.get_id(name).get_storage_size()
            if size > most:
                raise OSError(f"attribute '{name}' of '{path}' claims {size:.3g} bytes")
        if isinstance(item, h5py.Dataset) and item.nbytes > largest:
            raise OSError(f"dataset '{path}' claims {item.nbytes:.3g} bytes")

    check("/", file)
    file.visititems(check)


def paths_by_kind(file: Any) -> tuple[list[str], list[str]]:
    """Return the paths of all groups, and of all datasets, of an open file, sorted."""
    dataset_class, groups, datasets = require_library("h5py").Dataset, list[str](), list[str]()

    def add(path: str, item: Any) -> None:
        (datasets if isinstance(item, dataset_class) else groups).append(path)

    file.visititems(add)
    return sorted(groups), sorted(datasets)


def canonical_bytes(values: np.ndarray[Any, Any]) -> memoryview | bytes:
    """Return the bytes that a checksum counts, in C order and little endian; no copy where the array has them so."""
    little = values.dtype.newbyteorder("<") if values.dtype.byteorder == ">" else values.dtype
    ordered = np.ascontiguousarray(values, dtype=little)
    return ordered.reshape(-1).view(np.uint8).data if ordered.dtype.kind in "fiub" else ordered.tobytes()


def json_value(value: Any) -> Any:
    """Return the value of an HDF5 attribute as a JSON value: text for bytes, lists and numbers for numpy's."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray):
        # lists of numbers are JSON as they are, and a damaged file may hold millions
        return value.tolist() if value.dtype.kind in "fiub" else [json_value(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        return json_value(value.item())
    return value


def attributes_digest(file: Any, without: str = "manifest_sha256") -> str:
    """Return the SHA-256 of all attributes but those of the manifest and one of the root.

    Args:
        file: open.
        without: name of the root's attribute that holds a digest.
    """
    groups, datasets = paths_by_kind(file)
    digest, separator = hashlib.sha256(b"{"), ""
    # the JSON text of one object {path: {attribute: value}} with sorted keys, piece by piece: it is long for many tiles
    for path in sorted(["/", *(path for path in groups + datasets if not path.startswith("manifest"))]):
        own = {k: json_value(v) for k, v in file[path].attrs.items() if (path, k) != ("/", without)}
        digest.update(f"{separator}{_json_text(path)}:{_json_text(own)}".encode())
        separator = ","
    digest.update(b"}")
    return digest.hexdigest()


def _json_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def manifest_digest(lines: list[tuple[str, str]], attributes: str) -> str:
    """Return the SHA-256 of the manifest: every line ``path sha256``, sorted, then the digest of the attributes.

    Args:
        lines: path and SHA-256 of every dataset.
        attributes: SHA-256 of the attributes.
    """
    text = "".join(f"{path} {digest}\n" for path, digest in sorted(lines)) + attributes
    return hashlib.sha256(text.encode()).hexdigest()
