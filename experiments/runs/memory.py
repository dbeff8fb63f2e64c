"""Sizes that do not fit into memory are refused before they are taken, since a system may end the process instead.

The free memory is read here, because the package ``psutil`` does not know the limit of a control group, which is what
ends a process in a container.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from hwmodels.errors import NeurofaError

SMALL = 2**28
"""Tensors below that many bytes are made without a look at the memory."""

_SIZED: frozenset[Callable[..., Any]] = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.randint, torch.eye, torch.arange}
)
"""Functions of torch that make a tensor of a given size."""


def free_bytes() -> int | None:
    """Return the memory that is free for this process, by the system and its control group; None: not known."""
    found = [_of_meminfo(), _of_group()]
    known = [free for free in found if free is not None]
    return min(known) if known else None


def _of_meminfo() -> int | None:
    table = Path("/proc/meminfo")
    if table.is_file():
        for line in table.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(os.sysconf_names):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_group() -> int | None:
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    try:
        return max(0, int(limit.read_text(encoding="ascii")) - int(used.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such system, or no limit ("max")
        return None


def require_memory(size: int, what: str) -> None:
    """Refuse what needs more memory than is free.

    Args:
        size: bytes.
        what: is to be made, for the message.

    Raises:
        NeurofaError: the size, and what is free.
    """
    if size < SMALL:
        return
    free = free_bytes()
    if free is not None and size > free:
        raise NeurofaError(
            f"got {what}, a single tensor of which takes {size / 1e9:,.1f} GB; expected at most the"
            f" {free / 1e9:,.1f} GB that are free; make it smaller"
        )


@contextmanager
def within_memory(what: str) -> Iterator[None]:
    """Refuse every tensor that is made inside and needs more memory than is free.

    Args:
        what: is being made, for the message.

    Raises:
        NeurofaError: by :func:`require_memory`.
    """
    with _Watch(what):
        yield


class _Watch(TorchFunctionMode):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _SIZED:
            require_memory(_bytes_of(func, args, kwargs), self.what)
        return func(*args, **kwargs)


def _bytes_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return the size of the tensor that a call makes; 0: on a device without memory, or not known here."""
    if str(kwargs.get("device")) == "meta":
        return 0
    size = kwargs.get("size", args)
    lists = [value for value in size if isinstance(value, list | tuple)]
    numbers = lists[0] if lists else size
    if not all(isinstance(n, int | float) for n in numbers) or not numbers:
        return 0
    dtype = kwargs.get("dtype") or torch.get_default_dtype()
    if func is torch.arange:
        return int(max(map(abs, numbers))) * 8
    if func is torch.eye and len(numbers) == 1:
        numbers = (*numbers, *numbers)
    return math.prod(int(n) for n in numbers) * dtype.itemsize
