"""The digest of a NIR file: of every dataset and attribute in it, as an attribute of its root."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from exports.checks import FileCheck, guarded
from exports.files.disk import SpillingFile
from exports.files.optional import require_library
from exports.hdf5.layout import attributes_digest, canonical_bytes, json_value, paths_by_kind

KEY = "neurofa_sha256"
"""Name of the attribute, which readers of NIR leave alone."""


def add_digest(disk: SpillingFile) -> None:
    """Write the digest of a NIR file into it."""
    with require_library("h5py").File(disk, "r+") as file:
        file.attrs[KEY] = _content_digest(file)


def check_digest(path: Path) -> FileCheck:
    """Compare a NIR file with the digest in it."""
    return guarded("digest", lambda: _compare(path))


def _compare(path: Path) -> FileCheck:
    with require_library("h5py").File(path, "r") as file:
        written = json_value(file.attrs.get(KEY))
        if written is None:
            return FileCheck("digest", True, "none in the file: nothing to compare its numbers with")
        same = written == _content_digest(file)
    return FileCheck("digest", same, "SHA-256 of the graph" if same else "the graph differs from what was written")


def _content_digest(file: Any) -> str:
    """Return the SHA-256 of all groups, datasets and attributes of an open file."""
    digest = hashlib.sha256()
    groups, datasets = paths_by_kind(file)
    for path in groups:
        digest.update(f"{path}/\n".encode())
    for path in datasets:
        item = file[path]
        digest.update(f"{path} {item.dtype.newbyteorder('<')} {item.shape}\n".encode())
        values = item[()]
        if item.dtype.kind in "OSU":
            digest.update(json.dumps(json_value(values), default=str).encode())
        else:
            digest.update(canonical_bytes(values))
    digest.update(attributes_digest(file, without=KEY).encode())
    return digest.hexdigest()
