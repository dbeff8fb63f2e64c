"""Random numbers from an explicit source: a torch generator, or a key.

torch's CPU generators produce one number after the other, so that they, and not the arithmetic, bound a noisy update.
Large float32 tensors on the CPU therefore take two words from the generator and hash the positions of their entries
with them: a counter-based generator, which runs on all threads. torch's generators on accelerators are of that kind.

A :class:`Key` is such a pair of words. A compiled function can draw from it, and computes every number where it is used
instead of storing it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError

GOLDEN = 0x9E3779B9
"""2^32 over the golden ratio: its multiples are spread evenly over all words."""

FEW = 2**15
"""Largest tensor for which torch's generator is faster than hashing."""


class Key:
    """Two words that determine all random numbers of one write or product.

    The n-th draw at position i is h(h(a i + b) + n G), with a (made odd) and b the words, G a constant and h
    :func:`lowbias32`. The same draws in the same order give the same numbers.

    Args:
        words: (2,) int32, on the device of the numbers.
    """

    def __init__(self, words: Tensor) -> None:
        self.words, self.draws = words, 0

    def _next(self, like: Tensor) -> Tensor:
        self.draws += 1
        position = torch.arange(like.numel(), dtype=torch.int32, device=like.device).view(like.shape)
        shift = self.draws * GOLDEN % 2**32
        base = lowbias32(position * (self.words[0] | 1) + self.words[1])
        return lowbias32(base + (shift - 2**32 if shift >= 2**31 else shift))

    def uniform(self, like: Tensor) -> Tensor:
        """Return random multiples of 2^-24, uniform in [0, 1), shaped as ``like``."""
        # a float32 holds whole numbers up to 2^24: 24 bits as an exact number (signed, hence + 2^23), over 2^24
        return (self._next(like) >> 8).to(like.dtype).add_(2.0**23).mul_(2.0**-24)

    def normal(self, like: Tensor) -> Tensor:
        """Return standard normal numbers shaped as ``like`` (Box and Muller 1958, the cosine of each pair)."""
        # half a step above zero, whose logarithm is infinite
        u = (self._next(like) >> 8).to(like.dtype).add_(2.0**23).mul_(2.0**-24).add_(2.0**-25)
        angle = self._next(like).to(like.dtype).mul_(math.pi * 2.0**-31)
        return u.log_().mul_(-2).clamp_(min=0).sqrt_().mul_(angle.cos_())


RandomSource = torch.Generator | Key
"""Where random numbers come from."""


def normal(like: Tensor, gen: RandomSource | None) -> Tensor:
    """Return standard normal numbers shaped as ``like``.

    Hashed numbers come in pairs r cos t, r sin t (Box and Muller 1958): r = sqrt(-2 ln u) with u from 20 bits of a
    word, t from the other 12, each placed within its bin by an offset that one draw shares.

    Args:
        like: gives shape, dtype and device.
        gen: source on that device.

    Raises:
        NeurofaError: no source.
    """
    if isinstance(gen, Key):
        return gen.normal(like)
    if not _hashed(like):
        return torch.randn(like.shape, generator=require_generator(gen), dtype=like.dtype, device=like.device)
    n = like.numel()
    half = (n + 1) // 2
    w = hashed_words(half, require_generator(gen))
    turn, push = torch.rand(2, generator=gen).tolist()
    angles = torch.arange(2**12, dtype=like.dtype).add_(turn).mul_(2 * math.pi / 2**12)
    # added in two steps, so that a small offset is not rounded to 0, whose logarithm is infinite
    u = (w >> 12).to(like.dtype).add_(2.0**19).add_(0.001 + 0.998 * push).mul_(2.0**-20)
    radius = u.log_().mul_(-2).sqrt_()
    direction = w.bitwise_and_(2**12 - 1)
    out = torch.empty(2 * half, dtype=like.dtype)
    for part, table in ((out[:half], angles.cos()), (out[half:], angles.sin())):
        # a table of 2^12 angles: computing the cosine of every angle takes twice as long
        torch.index_select(table, 0, direction, out=part)
        part.mul_(radius)
    return out[:n].view(like.shape)


def uniform(like: Tensor, gen: RandomSource | None) -> Tensor:
    """Return random numbers uniform in [0, 1), shaped as ``like``.

    Large float32 tensors on the CPU get hashed numbers, multiples of 2^-24 (see the module); others those of torch.

    Args:
        like: gives shape, dtype and device.
        gen: source on that device.

    Raises:
        NeurofaError: no source.
    """
    if isinstance(gen, Key):
        return gen.uniform(like)
    if not _hashed(like):
        return torch.rand(like.shape, generator=require_generator(gen), dtype=like.dtype, device=like.device)
    w = hashed_words(like.numel(), require_generator(gen)) >> 8
    return w.to(like.dtype).add_(2.0**23).mul_(2.0**-24).view(like.shape)


def hashed_words(count: int, gen: torch.Generator) -> Tensor:
    """Return random words of 32 bits: h(a i + b), i = 0, 1, ..., with a (odd) and b from the generator.

    Args:
        count: number of words.
        gen: source of a and b, on the CPU.

    Returns:
        (count,), int32, all different.

    Source: Salmon et al. 2011, SC'11, 16 (random numbers as a hash of counters).
    """
    a, b = torch.randint(-(2**31), 2**31, (2,), generator=gen).tolist()
    return lowbias32(torch.arange(count, dtype=torch.int32).mul_(a | 1).add_(b))


def lowbias32(x: Tensor) -> Tensor:
    """Hash 32-bit words by a bijection in which every input bit changes every output bit; overwrites ``x``.

    x ^= x >> 16; x *= 7feb352d; x ^= x >> 15; x *= 846ca68b; x ^= x >> 16, shifts without sign, products modulo 2^32.

    Source: C. Wellons, lowbias32.
    """
    # int32 shifts keep the sign: the masks remove the copies of the sign bit
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    x *= 0x7FEB352D
    x ^= (x >> 15).bitwise_and_(0x1FFFF)
    x *= 0x846CA68B - 2**32
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    return x


def _hashed(like: Tensor) -> bool:
    return like.numel() > FEW and like.dtype == torch.float32 and like.device.type == "cpu"


def require_generator(gen: torch.Generator | None) -> torch.Generator:
    """Return the generator, or refuse None: no part draws from a hidden source.

    Raises:
        NeurofaError: no generator.
    """
    if gen is None:
        raise NeurofaError("got no generator for random numbers; expected a torch.Generator; pass gen=...")
    return gen
