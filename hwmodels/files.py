"""Atomic writes: a file is written beside its name and then renamed, so that a reader finds it whole or not at all.

Ours, because the standard library has no such function and the package ``atomicwrites`` is no longer maintained.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwmodels.errors import NeurofaError

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_PART = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)\.part")
"""Name of a file that is being written: machine and process are in it."""


class StorageError(NeurofaError):
    """A place cannot be written, or the disk is full."""


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` that the block raises into a NeurofaError of one line that names ``path``.

    Raises:
        StorageError: the folder cannot be written, or the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"got '{path}' ({error.strerror or error}); expected a place that can be written; choose another folder"
        ) from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a new path beside ``path`` to write to; rename it to ``path`` when the block succeeds, else remove it.

    What a process that was killed has left of the same file is removed. A path that was yielded here is yielded as it
    is: the outer block renames it.

    Raises:
        StorageError: the place cannot be written.
    """
    if _PART.fullmatch(path.name):
        yield path
        return
    with scratch_path(path) as part:
        part.touch()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)  # safetensors leaves its files readable by their owner alone
        part.replace(path)


@contextmanager
def scratch_path(path: Path) -> Iterator[Path]:
    """Yield a new path beside ``path``; a file there is removed when the block ends, or later after a kill.

    Raises:
        StorageError: the place cannot be written.
    """
    part = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}.part")
    with write_errors(path):
        remove_abandoned(path.parent, path.name)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``; rename it to ``path``, which must not exist, when the block succeeds.

    Raises:
        StorageError: the place cannot be written.
    """
    part = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}.part")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent, path.name)
        try:
            part.mkdir()
            yield part
            part.rename(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    Raises:
        StorageError: the place cannot be written.
    """
    with atomic_path(path) as part:
        part.write_bytes(content)


def remove_abandoned(folder: Path, name: str = "*") -> None:
    """Remove what processes of this machine that have ended left half written.

    Args:
        folder: where they wrote.
        name: of the file; ``*``: any.
    """
    for part in folder.glob(f".{name if name == '*' else _literal(name)}.{_HOST}-*.part"):
        found = _PART.fullmatch(part.name)
        if found is not None and not _runs(int(found[2])):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits; the file may be larger than memory."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _literal(name: str) -> str:
    """Return a glob pattern that fits this name alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _runs(process: int) -> bool:
    """Return whether a process of this machine is alive."""
    if sys.platform == "win32":  # where signal 0 interrupts the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True
