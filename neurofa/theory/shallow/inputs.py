"""Fast Gaussian inputs of many students: they take most of the time of a simulated step."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hwmodels.numerics.random import GOLDEN

PAIRS = 2**16
"""Pairs of numbers generated at once, few enough for the cache."""

FEW = 2**14
"""Largest count of numbers for which torch's generator is faster."""


class GaussianInputs:
    """Independent numbers from N(0, 1/N): from torch, or from a hash where torch's generator is serial.

    The hash is counter-based: a call takes two words a (odd) and b from the generator, and its words are
    x_i = mix(a i + b), i = 0, 1, ... A word gives two numbers, sqrt(-2 ln u) sin t and sqrt(-2 ln u) cos t: u is |x|
    with its last bit set, over 2^31, and t is pi G x / 2^31 in [-pi, pi), for x and G x (mod 2^32) read with a sign.
    The 2^32 pairs (u, t) lie on a Fibonacci lattice, G being 2^32 over the golden ratio, so that one word gives both.
    numpy computes them, whose float32 logarithms and cosines take a third of the time of torch's on one thread.

    The hash is used in single precision on a CPU; torch draws everything else.

    Args:
        shape: of the numbers of one step; the last size is N.
        like: a tensor of the dtype and device of the numbers.
        gen: source of randomness, on that device.

    Source: Salmon et al. 2011, SC'11, 16 (random numbers as a hash of counters); Box and Muller 1958.
    """

    def __init__(self, shape: tuple[int, ...], like: Tensor, gen: torch.Generator) -> None:
        self.shape, self.dtype, self.device, self.gen = shape, like.dtype, like.device, gen
        self.variance = 1 / shape[-1]
        self._serial = like.dtype == torch.float32 and like.device.type == "cpu"
        self._places = np.arange(PAIRS, dtype=np.uint32)
        self._words, self._spare = np.empty_like(self._places), np.empty_like(self._places)

    def draw(self, steps: int) -> Tensor:
        """Draw the Gaussian inputs of several training steps, (steps, *shape)."""
        shape = (steps, *self.shape)
        n = math.prod(shape)
        if not self._serial or n <= FEW:
            drawn = torch.randn(shape, generator=self.gen, dtype=self.dtype, device=self.device)
            return drawn.mul_(self.variance**0.5)
        pairs = (n + 1) // 2
        numbers = torch.empty(2 * pairs)
        a, b = torch.randint(2**32, (2,), generator=self.gen).tolist()
        a |= 1
        for first in range(0, pairs, PAIRS):
            self._fill(numbers[2 * first : 2 * (first + PAIRS)].numpy(), a, b + a * first)
        return numbers[:n].view(shape)

    def _fill(self, out: np.ndarray, a: int, b: int) -> None:
        """Overwrite ``out``, of even length, with the numbers of the words mix(a i + b)."""
        half = len(out) // 2
        first, second, spare = out[:half], out[half:], self._spare[:half]
        words = self._hash(half, a, b)
        # angle t = pi G x / 2^31, G x (mod 2^32) read with a sign
        np.multiply(words, np.uint32(GOLDEN), out=spare)
        np.copyto(second, spare.view(np.int32), casting="unsafe")
        second *= np.float32(math.pi * 2**-31)
        words |= np.uint32(1)  # u is never 0, whose logarithm is infinite
        np.copyto(first, words.view(np.int32), casting="unsafe")
        # radius sqrt(-2 ln u / N) with u = |x| / 2^31, as sqrt(-ln u^2 / N): the square makes the sign irrelevant
        first *= np.float32(2**-31)
        np.square(first, out=first)
        np.log(first, out=first)
        first *= np.float32(-self.variance)
        np.sqrt(first, out=first)
        sines = np.sin(second, out=spare.view(np.float32))
        np.cos(second, out=second)
        second *= first
        first *= sines

    def _hash(self, count: int, a: int, b: int) -> np.ndarray:
        """Return mix(a i + b) for i < count as unsigned words, in a buffer that the next call overwrites."""
        x, spare = self._words[:count], self._spare[:count]
        np.multiply(self._places[:count], np.uint32(a), out=x)
        x += np.uint32(b % 2**32)
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            np.right_shift(x, shift, out=spare)
            x ^= spare
            x *= np.uint32(factor)
        np.right_shift(x, 16, out=spare)
        x ^= spare
        return x
