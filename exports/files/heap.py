"""Return freed memory to the operating system (glibc only)."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
"""Options of mallopt, from glibc's malloc.h."""
SMALLEST, LARGEST = 2**17, 2**25
"""glibc's initial threshold above which a block is mapped separately, and the one to which it lets it grow, bytes."""


def trim_heap() -> None:
    """Give free memory of the heap back to the operating system; do nothing where the C library cannot."""
    trim = _glibc_function("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def separate_blocks() -> Iterator[None]:
    """Map every block of 128 KB or more separately, so that it goes back to the system when it is freed.

    Long rows of temporary blocks with small lasting ones in between leave the heap full of holes, which count as
    several times the size of what is streamed. glibc starts with this threshold, but lets it grow to the size of the
    blocks that are allocated; afterwards it is set to the largest value that it would reach.
    """
    set_option = _glibc_function("mallopt")
    if set_option is None:
        yield
        return
    set_option(M_MMAP_THRESHOLD, SMALLEST)
    try:
        yield
    finally:
        set_option(M_MMAP_THRESHOLD, LARGEST)
        set_option(M_TRIM_THRESHOLD, 2 * LARGEST)


def _glibc_function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
