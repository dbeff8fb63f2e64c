"""Random numbers from an explicit source: a torch generator, or a key.

torch's CPU generators work one number after the other, so that they, and not the arithmetic, bound a noisy update.
Large single-precision tensors on the CPU therefore take two words from the generator and hash the positions with them:
a counter-based generator, which runs on all threads. On accelerators torch's own generators are of that kind.

A :class:`Key` is such a pair of words itself. A compiled function can draw from it, and computes every number where it
is used instead of storing it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError

GOLDEN = 0x9E3779B9
"""2^32 over the golden ratio: its multiples are spread evenly over all words."""

FEW = 2**15
"""Up to so many numbers torch's generator is faster."""


class Key:
    """Two words that decide all numbers of one write; asked in the same order, it gives the same numbers.

    The n-th draw at position i is mix(mix(a i + b) + n G), a (odd) and b being the words and G a constant.

    Args:
        words: (2,) int32, on the device of the numbers.
    """

    def __init__(self, words: Tensor) -> None:
        self.words, self.draws = words, 0

    def _next(self, like: Tensor) -> Tensor:
        self.draws += 1
        at = torch.arange(like.numel(), dtype=torch.int32, device=like.device).view(like.shape)
        shift = self.draws * GOLDEN % 2**32
        base = mix(at * (self.words[0] | 1) + self.words[1])
        return mix(base + (shift - 2**32 if shift >= 2**31 else shift))

    def uniform(self, like: Tensor) -> Tensor:
        """Numbers uniform in [0, 1), 24 bits, shaped as ``like``."""
        return (self._next(like) >> 8).to(like.dtype).add_(2.0**23).mul_(2.0**-24)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers shaped as ``like`` (Box and Muller 1958, the cosine of each pair)."""
        u = (self._next(like) >> 8).to(like.dtype).add_(2.0**23).mul_(2.0**-24).add_(2.0**-25)
        angle = self._next(like).to(like.dtype).mul_(math.pi * 2.0**-31)
        return u.log_().mul_(-2).clamp_(min=0).sqrt_().mul_(angle.cos_())


Source = torch.Generator | Key
"""Where random numbers come from."""


def normal(like: Tensor, gen: Source | None) -> Tensor:
    """Standard normal numbers shaped as ``like``, from a generator that must be there.

    Hashed ones come in pairs r cos t, r sin t (Box and Muller 1958): r = sqrt(-2 ln u) with u from 20 bits of a word, t
    from the other 12, each placed within its bin by an offset that is common to one draw.
    """
    if isinstance(gen, Key):
        return gen.normal(like)
    if not _hashed(like):
        return torch.randn(like.shape, generator=given(gen), dtype=like.dtype, device=like.device)
    n = like.numel()
    half = (n + 1) // 2
    w = words(half, given(gen))
    turn, push = torch.rand(2, generator=gen).tolist()
    angles = torch.arange(2**12, dtype=like.dtype).add_(turn).mul_(2 * math.pi / 2**12)
    # in two steps, so that a small offset is not rounded to 0, whose logarithm is infinite
    u = (w >> 12).to(like.dtype).add_(2.0**19).add_(0.001 + 0.998 * push).mul_(2.0**-20)
    radius = u.log_().mul_(-2).sqrt_()
    direction = w.bitwise_and_(2**12 - 1)
    out = torch.empty(2 * half, dtype=like.dtype)
    for part, table in ((out[:half], angles.cos()), (out[half:], angles.sin())):
        # looked up: the cosines of all angles would take twice as long
        torch.index_select(table, 0, direction, out=part)
        part.mul_(radius)
    return out[:n].view(like.shape)


def uniform(like: Tensor, gen: Source | None) -> Tensor:
    """Numbers uniform in [0, 1) shaped as ``like`` (24 bits), from a generator that must be there."""
    if isinstance(gen, Key):
        return gen.uniform(like)
    if not _hashed(like):
        return torch.rand(like.shape, generator=given(gen), dtype=like.dtype, device=like.device)
    w = words(like.numel(), given(gen)) >> 8
    return w.to(like.dtype).add_(2.0**23).mul_(2.0**-24).view(like.shape)


def words(count: int, gen: torch.Generator) -> Tensor:
    """Random words of 32 bits: mix(a i + b), i = 0, 1, ..., with a (odd) and b from the generator.

    Args:
        count: how many.
        gen: on the CPU.

    Returns:
        (count,), int32, all different.

    Source: Salmon et al. 2011, SC'11, 16 (random numbers as a hash of counters).
    """
    a, b = torch.randint(-(2**31), 2**31, (2,), generator=gen).tolist()
    return mix(torch.arange(count, dtype=torch.int32).mul_(a | 1).add_(b))


def mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit words in which every input bit reaches every output bit; overwrites ``x``.

    x ^= x >> 16; x *= 7feb352d; x ^= x >> 15; x *= 846ca68b; x ^= x >> 16, shifts without sign, products modulo 2^32.

    Source: C. Wellons, lowbias32.
    """
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    x *= 0x7FEB352D
    x ^= (x >> 15).bitwise_and_(0x1FFFF)
    x *= 0x846CA68B - 2**32
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    return x


def _hashed(like: Tensor) -> bool:
    return like.numel() > FEW and like.dtype == torch.float32 and like.device.type == "cpu"


def given(gen: torch.Generator | None) -> torch.Generator:
    """The generator, which has to be there.

    Raises:
        NeurofaError: it is not.
    """
    if gen is None:
        raise NeurofaError("got no generator for a noisy part; expected a torch.Generator; pass gen=...")
    return gen
