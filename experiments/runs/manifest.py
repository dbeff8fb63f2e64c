"""The manifest of a run's folder: whose run it is, who writes it, and the digest of every file.

A file is listed before it takes its name, with the digest of the file that it replaces: at whatever moment the process
ends, the file that is there is one of the two.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.files import read_json, write_json
from hwmodels.errors import NeurofaError
from hwmodels.files import file_digest

NAME, FORMAT = "manifest.json", "1"


@dataclass
class Manifest:
    """Digests of the files of one folder."""

    key: str
    """Of the run."""
    writer: str = field(default_factory=lambda: secrets.token_hex(8))
    """Drawn by everyone who begins to write into the folder."""
    files: dict[str, list[str]] = field(default_factory=dict)
    """SHA-256 by name; behind it that of the file before, while one replaces the other."""

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        content = {"format": FORMAT, "key": self.key, "writer": self.writer, "files": self.files}
        write_json(folder / NAME, content)

    def announce(self, folder: Path, name: str, digest: str) -> None:
        """List the new digest of a file that is about to take its name."""
        self.files = {other: digests[:1] for other, digests in self.files.items()}
        self.files[name] = [digest, *self.files.get(name, ())]
        self.write(folder)

    def check(self, path: Path) -> None:
        """Compare a file with its digest.

        Raises:
            NeurofaError: it is missing, not listed, or not what was written.
        """
        wanted = self.files.get(path.name)
        if wanted is None:
            raise NeurofaError(f"got '{path}', which its manifest does not list; expected a file of the run; {_REMEDY}")
        try:
            digest = file_digest(path)
        except OSError as error:
            raise NeurofaError(f"got '{path}' ({error.strerror}); expected a file of the run; {_REMEDY}") from None
        if digest not in wanted:
            raise NeurofaError(
                f"got '{path}', which is not what was written (its SHA-256 differs from the manifest's); expected the"
                f" file of the run; {_REMEDY}"
            )


_REMEDY = "copy the whole folder again, or train again with --overwrite"


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder; None where it has none.

    Raises:
        NeurofaError: a damaged one.
    """
    path = folder / NAME
    if not path.exists():
        return None
    content = read_json(path)
    if not _is_manifest(content):
        raise NeurofaError(f"got '{path}', which is no manifest; expected key, writer and files; {_REMEDY}")
    return Manifest(content["key"], content["writer"], content["files"])


def _is_manifest(content: dict[str, Any]) -> bool:
    files = content.get("files")
    return (
        isinstance(content.get("key"), str)
        and isinstance(content.get("writer"), str)
        and isinstance(files, dict)
        and all(isinstance(d, list) and d and all(isinstance(text, str) for text in d) for d in files.values())
    )
