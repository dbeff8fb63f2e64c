"""Freed memory given back to the system."""

from __future__ import annotations

import ctypes
import sys


def trim() -> None:
    """Give back what is free between live allocations; does nothing where the C library cannot (all but glibc).

    Long rows of temporary blocks with small lasting ones in between leave the heap full of holes, which would count as
    several times the size of what is streamed.
    """
    if not sys.platform.startswith("linux"):
        return
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)
