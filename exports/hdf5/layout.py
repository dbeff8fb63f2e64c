"""Text of a file's README, JSON values of attributes, and checksums."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from exports.files.optional import require_library

FORMAT, VERSION = "neurofa-hardware", "1.0"

METADATA = 2**17
"""Bytes of metadata, in their stored form, that HDF5 keeps in its cache; in memory they take several times as much."""

README = """\
This file holds a trained neural network, the pathway by which errors return to its layers, and what a lab needs to put
both on hardware and to check it there. It is plain HDF5: no software of ours is needed to use it.

layers/NAME        one layer; attributes say what it computes (kind, activation, ...), 'order' at /layers which follows.
                   weight: one row an output, so that y = weight @ x + bias.
feedback           how the error at the output (output minus target, B samples) reaches the layers.
                   matrix: rows [first, last) of feedback/slices/NAME times the error are the teaching signal of NAME.
NAME_quantized     the same weights as whole numbers: weight = scale * (codes - zero_point), scale per row or one.
NAME_tiles         the same weights as conductances in siemens, tile by tile; a tile's rows are inputs, its columns
                   outputs; attributes first_input and first_output say where it stands in the matrix, 'map' and 'scale'
                   how conductances become weights: pair: weight = (plus - minus) / scale; reference: weight =
                   (g - reference) / scale; single: weight = (g - (g_min + g_max) / 2) / scale; n_pair: weight = sum
                   over k of significance**k * (plus_k - minus_k) / scale. 'tolerance' is how far a conductance may be
                   off, 'faults' marks elements that cannot be written.
error_encoding     the number format in which the error enters the pathway.
learning           how weights change: rule, optimizer and their constants.
probes             vectors to send in, what should come out (expected), how far a working chip strays (spread: one
                   standard deviation) and how far it may (band: |measured - expected| <= band passes).
state              what the training software needs beyond this to go on.
provenance         JSON: the run, its seed, the versions.
manifest           SHA-256 of every dataset (of its values in C order, little endian) and of all attributes.

Every dataset has the attributes unit and meaning. Units: S siemens, uS microsiemens, V, s, A, rad, nm, dB; 1 is a
number without a unit. The schema is written down in exports/schema/ of the package neurofa.
"""


def limit_metadata_cache(file: Any) -> None:
    """Keep HDF5 from holding the metadata of thousands of tiles in memory."""
    cache = file.id.get_mdc_config()
    cache.set_initial_size, cache.initial_size = True, METADATA
    cache.min_size, cache.max_size = METADATA // 2, METADATA
    file.id.set_mdc_config(cache)


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
    """Return the value of an attribute as a JSON value."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray):
        return [json_value(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        return json_value(value.item())
    return value


def attributes_digest(file: Any) -> str:
    """Return the SHA-256 of all attributes but those of the manifest and the root's digest of it."""
    groups, datasets = paths_by_kind(file)
    digest, separator = hashlib.sha256(b"{"), ""
    # the JSON text of one object {path: {attribute: value}} with sorted keys, piece by piece: it is long for many tiles
    for path in sorted(["/", *(path for path in groups + datasets if not path.startswith("manifest"))]):
        own = {k: json_value(v) for k, v in file[path].attrs.items() if (path, k) != ("/", "manifest_sha256")}
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
