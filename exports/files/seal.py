"""A digest in front of an HDF5 file, in its user block: damage is found before the library reads anything.

The C library of HDF5 trusts the addresses and lengths in a file, and may read a damaged one without end. A user block
is what the format leaves to others in front of a file; every reader of HDF5 skips it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

FRONT = 512
"""Length of the user block, bytes: the smallest that HDF5 allows."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""First bytes of HDF5's own part of a file."""
_LINE = "neurofa: sha256 {} of all bytes from {} on\n"
_DIGEST = re.compile(rb"sha256 ([0-9a-f]{64}) of")


def seal(path: Path) -> None:
    """Write the digest of a finished file into its user block, which must be there.

    Args:
        path: of the file.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("r+b") as file:
        file.write(_block(_digest(path)))


def seal_holds(path: Path) -> bool | None:
    """Return whether the bytes of a file are those that were sealed; None: it has no seal.

    Args:
        path: of a file, which may be damaged or another one.
    """
    with path.open("rb") as file:
        front = file.read(FRONT)
    # the line stands there several times: a damaged copy does not make a file look as if it had no seal
    if front.startswith(SIGNATURE) or (b"neurofa" not in front and not _DIGEST.search(front)):
        return None
    return front == _block(_digest(path))


def _block(digest: str) -> bytes:
    line = _LINE.format(digest, FRONT).encode()
    return (line * (FRONT // len(line))).ljust(FRONT, b"\0")


def _digest(path: Path) -> str:
    """Return the SHA-256 of all bytes behind the user block; the file may be larger than memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(FRONT)
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
