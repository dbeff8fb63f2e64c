"""Where things stand in a file, and how what stands there is summed up in checksums."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

FORMAT, VERSION = "neurofa-hardware", "1.0"

METADATA = 2**17
"""Bytes of metadata, as they stand in a file, that HDF5 keeps at hand; in memory they are many more."""

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


def lean(file: Any) -> None:
    """Keep HDF5 from holding the metadata of thousands of tiles."""
    cache = file.id.get_mdc_config()
    cache.set_initial_size, cache.initial_size = True, METADATA
    cache.min_size, cache.max_size = METADATA // 2, METADATA
    file.id.set_mdc_config(cache)


def digest_block(values: np.ndarray[Any, Any]) -> memoryview | bytes:
    """Bytes that a checksum counts: C order, little endian; those of the array itself where they stand like that."""
    little = values.dtype.newbyteorder("<") if values.dtype.byteorder == ">" else values.dtype
    ordered = np.ascontiguousarray(values, dtype=little)
    return ordered.reshape(-1).view(np.uint8).data if ordered.dtype.kind in "fiub" else ordered.tobytes()


def plain(value: Any) -> Any:
    """An attribute's value as a JSON value."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        return plain(value.item())
    return value


def attributes_digest(file: Any) -> str:
    """SHA-256 of all attributes but those of the manifest and the total of the root."""
    paths: list[str] = []
    file.visit(paths.append)
    digest, before = hashlib.sha256(b"{"), ""
    # the JSON text of one object {path: {attribute: value}} with sorted keys, piece by piece: it is long for many tiles
    for path in sorted(["/", *(path for path in paths if not path.startswith("manifest"))]):
        own = {k: plain(v) for k, v in file[path].attrs.items() if (path, k) != ("/", "manifest_sha256")}
        digest.update(f"{before}{_text(path)}:{_text(own)}".encode())
        before = ","
    digest.update(b"}")
    return digest.hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def total(lines: list[tuple[str, str]], attributes: str) -> str:
    """SHA-256 of the manifest: every line ``path sha256``, sorted, then that of the attributes."""
    text = "".join(f"{path} {digest}\n" for path, digest in sorted(lines)) + attributes
    return hashlib.sha256(text.encode()).hexdigest()
