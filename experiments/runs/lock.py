"""One writer at a time in a folder: a lock that ends with the process that holds it, however it ends.

Ours, because the package ``filelock`` does not say which process holds a lock, leaves its file in the folder, and ends
in an error or in a lock that outlives its process where a file system has no locks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hwmodels.errors import NeurofaError
from hwmodels.files import write_errors

LOCK = ".lock"
"""Name of the file in the folder; it is there while somebody writes, and the operating system holds the lock."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder that exists for one writer.

    Where the file system or the operating system has no such locks, nothing is held: writers find out by the manifest.

    Raises:
        NeurofaError: another process holds it.
        StorageError: the folder cannot be written.
    """
    path = folder / LOCK
    with write_errors(folder):
        handle = _acquire(path)
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held, so that nobody waits for a file that is gone
            path.unlink()
        os.close(handle)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _locked(handle):
            holder = os.read(handle, 20).decode(errors="replace").strip()
            os.close(handle)
            raise NeurofaError(
                f"got '{path.parent}', which {f'process {holder}' if holder else 'another process'} is writing;"
                " expected one writer; wait for its end, or choose another folder"
            )
        try:
            same = path.stat().st_ino == os.fstat(handle).st_ino
        except FileNotFoundError:
            same = False
        if same:
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
            return handle
        os.close(handle)  # the holder before removed the file between opening and locking


def _locked(handle: int) -> bool:
    """Return whether the lock was free, and is held now."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
