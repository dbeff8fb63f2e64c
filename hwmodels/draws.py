"""Random numbers from an explicit generator."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError


def normal(like: Tensor, gen: torch.Generator | None) -> Tensor:
    """Standard normal numbers shaped as ``like``, from a generator that must be there."""
    return torch.randn(like.shape, generator=_given(gen), dtype=like.dtype, device=like.device)


def uniform(like: Tensor, gen: torch.Generator | None) -> Tensor:
    """Numbers uniform in [0, 1) shaped as ``like``, from a generator that must be there."""
    return torch.rand(like.shape, generator=_given(gen), dtype=like.dtype, device=like.device)


def _given(gen: torch.Generator | None) -> torch.Generator:
    if gen is None:
        raise NeurofaError("got no generator for a noisy device; expected a torch.Generator; pass gen=...")
    return gen
