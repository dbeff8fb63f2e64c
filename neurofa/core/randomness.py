"""Explicit sources of randomness: nothing in the package touches torch's global generator."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *names: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for one purpose of one run.

    Args:
        seed: the run's seed.
        names: what it is for (``"weights"``, ``"feedback"``); other names give independent streams.
        device: where it draws.
    """
    digest = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def fork_seed(gen: torch.Generator | None) -> int:
    """A seed drawn from a generator without waiting for its device; the generator moves on."""
    if gen is None:
        return 0
    if gen.device.type == "cpu":
        return int(torch.randint(2**62, (), generator=gen))
    offset = gen.get_offset()
    gen.set_offset(offset + 4)  # the host keeps count; offsets are multiples of 4
    return hash((gen.initial_seed(), offset)) & (2**62 - 1)
