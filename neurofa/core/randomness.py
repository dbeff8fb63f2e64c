"""Explicit sources of randomness: nothing in the package uses torch's global generator."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *names: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for one purpose of one run.

    Args:
        seed: seed of the run.
        names: the purpose (``"weights"``, ``"feedback"``); different names give independent streams.
        device: device on which the generator draws.
    """
    digest = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def fork_seed(gen: torch.Generator | None) -> int:
    """Draw a seed from a generator without waiting for its device, and advance the generator; 0 without a generator."""
    if gen is None:
        return 0
    if gen.device.type == "cpu":
        return int(torch.randint(2**62, (), generator=gen))
    offset = gen.get_offset()
    gen.set_offset(offset + 4)  # kept on the host; offsets are multiples of 4
    return hash((gen.initial_seed(), offset)) & (2**62 - 1)
