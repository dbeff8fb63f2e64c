"""Freed memory given back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Numbers of glibc's options."""
APART, GROWN = 2**17, 2**25
"""Bytes from which on a block stands apart: glibc's first value, and the one to which it lets it grow."""


def trim() -> None:
    """Give back what is free between live allocations; does nothing where the C library cannot (all but glibc)."""
    release = _of_glibc("malloc_trim")
    if release is not None:
        release(0)


@contextmanager
def apart() -> Iterator[None]:
    """Every block of 128 KB or more is asked from the system for itself, and goes back to it once it is freed.

    Long rows of temporary blocks with small lasting ones in between leave the heap full of holes, which count as
    several times the size of what is streamed. glibc starts like that, but lets the limit grow to the size of the
    blocks that it sees; afterwards it is what it grows to.
    """
    option = _of_glibc("mallopt")
    if option is None:
        yield
        return
    option(MMAP_THRESHOLD, APART)
    try:
        yield
    finally:
        option(MMAP_THRESHOLD, GROWN)
        option(TRIM_THRESHOLD, 2 * GROWN)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
