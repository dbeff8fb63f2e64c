"""Published archives: found in place, or downloaded, known by their MD5, and unpacked whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from experiments.data import _files
from experiments.files import make_folder
from hwmodels.errors import NeurofaError
from hwmodels.files import write_errors


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A zip or gzipped tar file, and the one file or folder in it that is wanted."""

    name: str
    member: str
    """Name of the file or folder at the top of the archive."""
    md5: str | None
    """As published; ``None``: none is, and the reader knows the contents."""
    addresses: Sequence[str]
    """Addresses of the archive, tried in order."""


def unpacked(folder: str, archive: Archive) -> Path:
    """The unpacked member: in a data folder as the user put it there, else from the archive there, else downloaded.

    Args:
        folder: of the data set, relative to a data folder.
        archive: which.

    Raises:
        NeurofaError: the archive is damaged, cannot be had, or cannot be unpacked.
    """
    for base in _files.data_folders():
        if (base / folder / archive.member).exists():
            return base / folder / archive.member
    target = _files.cache_folder() / folder
    path = _files.find(f"{folder}/{archive.name}")
    if path is None:
        known = None if archive.md5 is None else f"md5:{archive.md5}"
        path = _files.download(archive.addresses, known, target / archive.name)
    elif archive.md5 is not None and (got := digest(path, "md5")) != archive.md5:
        raise NeurofaError(f"got md5 {got} for {path}; expected {archive.md5}; delete the file to download it again")
    unpack(path, archive.member, make_folder(target))
    if path.parent == target:
        path.unlink(missing_ok=True)
    return target / archive.member


def digest(path: Path, kind: str = "sha256") -> str:
    """Hexadecimal checksum of a file that may be larger than memory.

    Raises:
        NeurofaError: the file cannot be read.
    """
    found = hashlib.new(kind, usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                found.update(block)
    except OSError as error:
        raise NeurofaError(f"got {path} ({error.strerror}); expected a readable file; check its permissions") from None
    return found.hexdigest()


def unpack(path: Path, member: str, target: Path) -> None:
    """Take a file or a folder, and nothing else, out of an archive into ``target``, whole or not at all.

    Raises:
        NeurofaError: no archive, a damaged one, the member is not in it, or no space.
    """
    try:
        with write_errors(target), tempfile.TemporaryDirectory(dir=target) as scratch:
            found = False
            for name, stream in _members(path):
                place = PurePosixPath(name)
                if place.parts[:1] != (member,) or ".." in place.parts:
                    continue
                found = True
                inside = Path(scratch, *place.parts)
                inside.parent.mkdir(parents=True, exist_ok=True)
                with inside.open("wb") as out:
                    shutil.copyfileobj(stream, out)
            if not found:
                raise NeurofaError(f"got {path} without '{member}'; expected it inside; delete the archive")
            try:
                (Path(scratch) / member).rename(target / member)
            except OSError:
                # another process may have been faster; what it unpacked is as whole as this
                if not (target / member).exists():
                    raise
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise NeurofaError(f"got {path} ({error}); expected a whole archive; delete it to download it again") from None


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of an archive, one after the other."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as whole:
            for entry in whole.infolist():
                if not entry.is_dir():
                    with whole.open(entry) as stream:
                        yield entry.filename, stream
        return
    with tarfile.open(path) as tar:
        for member in tar:
            stream_or_none = tar.extractfile(member) if member.isfile() else None
            if stream_or_none is not None:
                yield member.name, stream_or_none
