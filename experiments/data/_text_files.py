"""Published text files: found in a data folder or downloaded, and recognised by their checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from experiments.data import _files
from experiments.data._text import decoded
from hwmodels.errors import NeurofaError


def published_text(relative: str, address: str, known: Mapping[str, str], provenance: dict[str, str]) -> str:
    """Return the content of a published text file, and add its checksum to ``provenance``.

    Args:
        relative: path of the file in a data folder.
        address: from which a missing file is downloaded.
        known: what each accepted file is, by its identifier in git (:func:`git_blob`); the first one is downloaded.
        provenance: receives the file's name, SHA-256 and what it is.

    Raises:
        NeurofaError: another file, or one that cannot be downloaded.
    """
    path = _files.find_file(relative)
    if path is None:
        path = _files.download((address,), None, _files.cache_folder() / relative)
    blob = _files.read_file(path)
    about = known.get(git_blob(blob))
    if about is None:
        raise NeurofaError(
            f"got {path} with {len(blob)} bytes, git blob {git_blob(blob)}; expected {' or '.join(known)}; delete the"
            " file to download it again, or read it as data text(path=...)"
        )
    provenance[relative] = f"sha256:{_files.sha256(blob)} ({about})"
    return decoded(blob, str(path))


def git_blob(blob: bytes) -> str:
    """Return the identifier that git gives to a file's content: SHA-1 of a header with its length, and the content."""
    return hashlib.sha1(b"blob %d\0" % len(blob) + blob, usedforsecurity=False).hexdigest()


def raw_address(repository: str, commit: str, path: str) -> str:
    """Return the address of one file of a public repository at one commit.

    Args:
        repository: owner and name.
        commit: its hash.
        path: of the file.
    """
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"
