"""Errors of hardware in closed form: what a noisy product is worth, from constants alone, before anything is drawn.

A *static* error is the same at every use: it only makes another matrix. A *dynamic* one is another at every use, and
turns a vector s away from where it should point. With s' = k s + n, n independent of s in all its many entries,

    cos(s, s') = k |s|^2 / (|s| sqrt(k^2 |s|^2 + |n|^2)) = 1 / sqrt(1 + NSR^2),   NSR^2 = E|n|^2 / (k^2 |s|^2),

since <s, n> and the fluctuation of |n|^2 are smaller than what is kept by 1/sqrt(width). Sources that are independent
add their NSR^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

TINY = 1e-30
"""Added to a power that may be zero before it divides."""

LOST = 1e-4
"""Share of the signal below which a known error has taken all of it; what remains is rounding of float32."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """One source of dynamic error of one product (B, n_in) to (B, n_out).

    Of ``fresh``, ``shared`` and ``shift`` those are given which the source has; powers add up. All are in the unit of
    the product, squared where they are variances.
    """

    name: str
    formula: str
    """Of NSR^2 or of the variance, in symbols."""
    fresh: Tensor | None = None
    """Variance of a noise that is independent for every sample and output: broadcasts to (B, n_out)."""
    shared: Tensor | None = None
    """Variances of the matrix entries (n_in, n_out), where one draw serves the whole batch."""
    shift: Tensor | None = None
    """A known error, the same at every draw: broadcasts to (B, n_out). Its part along the signal is a change of k."""
    signal: Tensor | None = None
    """(B, n_out): the product without this source; None: not filled in yet."""
    encodes: bool = False
    """Whether the source stands before all others, so that they act on what it leaves."""
    outside: str = ""
    """Why the closed form does not hold here; empty where it does."""

    def kept(self) -> Tensor:
        """k, the share of the signal that is left of it, of every sample: (B,) float64; 1 without a known error."""
        assert self.signal is not None  # noqa: S101 (filled in by whoever asks)
        s = self.signal.double()
        if self.shift is None:
            return s.new_ones(len(s))
        return 1 + (s * self.shift).sum(1) / s.square().sum(1).clamp_min(TINY)

    def power(self, vectors: Tensor) -> Tensor:
        """E|n|^2 of every sample, float64.

        Args:
            vectors: (B, n_in), what enters the product.

        Returns:
            (B,), in the unit of the product squared.
        """
        assert self.signal is not None  # noqa: S101
        shape = self.signal.shape
        total = vectors.new_zeros(len(vectors), dtype=torch.float64)
        if self.fresh is not None:
            total += self.fresh.double().expand(shape).sum(1)
        if self.shared is not None:
            total += vectors.double().square() @ self.shared.double().sum(1)
        if self.shift is not None:
            along = (self.kept() - 1).unsqueeze(1) * self.signal
            total += (self.shift - along).square().sum(1)
        return total

    def nsr2(self, vectors: Tensor) -> Tensor:
        """NSR^2 of every sample, (B,) float64; infinite where nothing of the signal is left."""
        assert self.signal is not None  # noqa: S101
        k = self.kept()
        left = self.signal.double().square().sum(1)
        there = (left > TINY) & (k > LOST)
        return torch.where(there, self.power(vectors) / (k.square() * left).clamp_min(TINY), torch.inf)

    def cosine(self, vectors: Tensor) -> Tensor:
        """Of the product with and without the source, sign(k) / sqrt(1 + NSR^2): (B,) float64; 0 for no signal."""
        assert self.signal is not None  # noqa: S101
        k = self.kept()
        scale = k.masked_fill(k.abs() <= LOST, 0.0) * self.signal.double().square().sum(1).sqrt()
        return scale / (scale.square() + self.power(vectors)).sqrt().clamp_min(TINY)

    def __add__(self, other: Noise) -> Noise:
        """The same source in a second array whose output is added (tiles): variances and shifts add up."""
        return replace(
            self,
            fresh=_sum(self.fresh, other.fresh),
            shift=_sum(self.shift, other.shift),
            outside=self.outside or other.outside,
        )


class Source(NamedTuple):
    """A source of noise, and the means to look at it alone."""

    noise: Noise
    run: Callable[[torch.Generator], Tensor]
    """One pass (B, n_out) in which it is the only error; compared with ``noise.signal``."""


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def rounding(x: Tensor, step: float | Tensor) -> Tensor:
    """Mean square error of rounding to multiples of a step: s^2/12 beyond half a step, x^2 below, where all is lost.

    s^2/12 is the variance of a number that is uniform between two levels; it holds for signals that spread over several
    levels (Widrow's condition). Numbers within half a step of zero become zero: their error is known.

    Args:
        x: signals, any shape and unit.
        step: s, distance of two levels, in the unit of ``x``; broadcasts.

    Returns:
        Shaped as ``x``, in its unit squared.

    Source: Widrow 1956, IRE Trans. Circuit Theory 3, 266 (the uniform model).
    """
    square = x.square()
    level = torch.as_tensor(step, dtype=x.dtype, device=x.device).square()
    return torch.where(square * 4 >= level, level / 12, square)


def coarse(signals: Tensor, levels: Tensor, formula: Tensor, tolerance: float = 0.02) -> str:
    """Whether rounding these signals is another thing than the uniform model says, by more than a cosine can bear.

    cos = 1/sqrt(1 + NSR^2) moves by at most half of a change of NSR^2.

    Args:
        signals: known signals (B, n), any unit.
        levels: what the converter makes of them, same shape and unit.
        formula: mean squares from :func:`rounding`, same shape.
        tolerance: error of the mean cosine that is accepted.

    Returns:
        Why the model does not hold, in words; empty where it does.
    """
    size = signals.double().square().sum(1).clamp_min(TINY)
    real = ((levels - signals).double().square().sum(1) / size).mean()
    said = (formula.double().sum(1) / size).mean()
    if bool((real - said).abs() <= 2 * tolerance):
        return ""
    return f"levels too coarse for s^2/12: rounding has a NSR^2 of {float(real):.3g}, not {float(said):.3g}"


def in_words(share: float, what: str) -> str:
    """Such as ``2 % of the pixels saturate``."""
    return f"{100 * share:.2g} % {what}"


def projected(x: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
    """Cut an encoded vector into what is left of the original and what is not: Q(x) = k x + r, r orthogonal to x.

    A random matrix keeps angles up to 1/sqrt(width), so that

        cos(x B, Q(x) B) = cos(x, Q(x)) = 1/sqrt(1 + |r|^2/|k x|^2).

    Args:
        x: (B, n).
        encoded: (B, n).

    Returns:
        k (B, 1), and r (B, n).
    """
    k = (x * encoded).sum(1, keepdim=True) / x.square().sum(1, keepdim=True).clamp_min(TINY)
    return k, encoded - k * x
