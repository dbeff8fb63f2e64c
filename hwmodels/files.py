"""Atomic writes: a file is written beside its name and then renamed, so that a reader finds it whole or not at all.

Ours, because the standard library has no such function and the package ``atomicwrites`` is no longer maintained.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwmodels.errors import NeurofaError


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` that the block raises into a NeurofaError of one line that names ``path``.

    Raises:
        NeurofaError: the folder cannot be written, or the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise NeurofaError(
            f"got '{path}' ({error.strerror or error}); expected a place that can be written; choose another folder"
        ) from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a new path beside ``path`` to write to; rename it to ``path`` when the block succeeds, else remove it.

    Raises:
        NeurofaError: the place cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with write_errors(path):
        try:
            part.touch()
            mode = part.stat().st_mode
            yield part
            part.chmod(mode)  # safetensors leaves its files readable by their owner alone
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    Raises:
        NeurofaError: the place cannot be written.
    """
    with atomic_path(path) as part:
        part.write_bytes(content)
