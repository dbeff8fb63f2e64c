"""Published archives: found in place or downloaded, identified by their MD5, unpacked whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
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
    """As published; None: none is published, and the reader checks the contents."""
    addresses: Sequence[str]
    """Addresses of the archive, tried in order."""


def unpacked(folder: str, archive: Archive, finish: Callable[[Path], None] | None = None) -> Path:
    """Return the path of the unpacked member of an archive.

    It is found in a data folder, or unpacked from the archive there, or the archive is downloaded first.

    Args:
        folder: folder of the data set, relative to a data folder.
        archive: the archive, with its member.
        finish: called with the path of the unpacked member before it moves to its place.

    Raises:
        NeurofaError: the archive is damaged, cannot be downloaded, or cannot be unpacked.
    """
    for base in _files.data_folders():
        if (base / folder / archive.member).exists():
            return base / folder / archive.member
    target = _files.cache_folder() / folder
    path = _files.find_file(PurePosixPath(folder, archive.name).as_posix())
    if path is None:
        known = None if archive.md5 is None else f"md5:{archive.md5}"
        path = _files.download(archive.addresses, known, target / archive.name)
    elif archive.md5 is not None and (got := digest(path, "md5")) != archive.md5:
        raise NeurofaError(f"got md5 {got} for {path}; expected {archive.md5}; delete the file to download it again")
    unpack_member(path, archive.member, make_folder(target), finish)
    if path.parent == target:
        path.unlink(missing_ok=True)
    return target / archive.member


def digest(path: Path, kind: str = "sha256") -> str:
    """Return the hexadecimal checksum of a file that may be larger than memory.

    Raises:
        NeurofaError: the file cannot be read.
    """
    checksum = hashlib.new(kind, usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                checksum.update(block)
    except OSError as error:
        raise NeurofaError(f"got {path} ({error.strerror}); expected a readable file; check its permissions") from None
    return checksum.hexdigest()


def unpack_member(path: Path, member: str, target: Path, finish: Callable[[Path], None] | None = None) -> None:
    """Take a file or a folder, and nothing else, out of an archive, whole or not at all.

    Args:
        path: the archive.
        member: name of the file or folder at the top of the archive.
        target: folder into which the member is put.
        finish: called with the path of the unpacked member before it moves into ``target``.

    Raises:
        NeurofaError: no archive, a damaged one, one without the member, or no space.
    """
    try:
        with write_errors(target), tempfile.TemporaryDirectory(dir=target) as scratch:
            unpacked_member = Path(scratch) / member
            for name, stream in _members(path):
                place = PurePosixPath(name)
                if place.parts[:1] == (member,) and ".." not in place.parts:
                    file = Path(scratch, *place.parts)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with file.open("wb") as out:
                        shutil.copyfileobj(stream, out)
            if not unpacked_member.exists():
                raise NeurofaError(f"got {path} without '{member}'; expected it inside; delete the archive")
            if finish is not None:
                finish(unpacked_member)
            try:
                unpacked_member.rename(target / member)
            except OSError:
                # another process may have been faster; its copy is as whole as this one
                if not (target / member).exists():
                    raise
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise NeurofaError(f"got {path} ({error}); expected a whole archive; delete it to download it again") from None


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of each regular file of an archive."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as stream:
                        yield entry.filename, stream
        return
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content
