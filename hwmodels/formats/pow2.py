"""Powers of two: a product becomes a shift."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import POSITIVE_OR_NONE, check_options
from hwmodels.format import Format, check_bits, work_dtype


@dataclass(frozen=True, kw_only=True)
class Pow2(Format, name="pow2"):
    """Signed powers of two: Q(x) = sign(x) 2^e with e = round(log2 |x|) clipped to K = 2^(bits-1) - 1 exponents.

    One code word means zero, and zero stays zero. The exponents are m, m - 1, ..., m - K + 1, where m is the exponent
    that the full scale rounds to.

    Args:
        bits: width of the code word: sign and exponent, 2 to 24.
        range: full scale in the unit of x, > 0; None takes max |x| of the tensor each time.
        flush: numbers nearer to zero than to the smallest power become zero, as when a shifter shifts everything out;
            otherwise they take the smallest power.
    """

    source = "Miyashita, Lee and Murmann 2016, arXiv 1603.01025 (logarithmic numbers)"

    bits: int = 4
    range: float | None = None
    flush: bool = False

    def __post_init__(self) -> None:
        check_bits("pow2", self.bits, one="use sign for one bit")
        check_options(self, POSITIVE_OR_NONE, "range")

    def quantize(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return a signed power of two, or zero, for every entry; no randomness."""
        x = x.detach()
        size = x.to(work_dtype(x.dtype)).abs()
        tiny = torch.finfo(size.dtype).tiny
        full = size.amax().clamp_min(tiny) if self.range is None else size.new_full((), self.range)
        # clipping happens on exponents, before the exponential: powers stay exact
        top = full.log2().round()
        bottom = (top - (2 ** (self.bits - 1) - 2)).clamp_min(math.log2(tiny))
        exponent = torch.minimum(torch.maximum(size.clamp_min(tiny).log2().round_(), bottom), top)
        zero = size < bottom.exp2() / 2 if self.flush else size == 0
        y = exponent.exp2_().masked_fill_(zero, 0).to(x.dtype)
        # sign(NaN) is 0, which would read as "no error": NaN has to stay visible
        return torch.where(x.isnan(), x, y.mul_(x.sign()))

    def inside(self, x: Tensor) -> Tensor | None:
        """Return |x| <= range, booleans shaped as ``x``; None where the full scale follows the tensor."""
        return None if self.range is None else x.abs() <= self.range
