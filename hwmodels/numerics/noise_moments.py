"""Closed forms for the error of a noisy product, from the constants of the hardware alone.

A *static* error is the same at every use: it replaces the matrix by another one. A *dynamic* error is drawn anew at
every use and turns a vector s away from its direction. With s' = k s + n, the entries of n independent of s,

    cos(s, s') = k |s|^2 / (|s| sqrt(k^2 |s|^2 + |n|^2)) = 1 / sqrt(1 + NSR^2),   NSR^2 = E|n|^2 / (k^2 |s|^2),

because <s, n> and the fluctuation of |n|^2 are smaller than the other terms by 1/sqrt(width). The NSR^2 of independent
sources add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

TINY = 1e-30
"""Least size in float32 that divides."""
LEAST = 1e-300
"""Least power in float64 that divides; far below that of the smallest float32."""

LOST = 1e-4
"""Share of the signal that counts as nothing: a known error has removed it, and the rest is rounding of float32."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """One source of dynamic error of one product (B, n_in) to (B, n_out).

    A source sets those of ``fresh``, ``shared`` and ``shift`` that it has; their powers add up. All are in the unit of
    the product, variances in that unit squared.
    """

    name: str
    formula: str
    """NSR^2 or the variance in symbols, for a report."""
    fresh: Tensor | None = None
    """Variance of a noise that is independent for every sample and output: broadcasts to (B, n_out)."""
    shared: Tensor | None = None
    """Variances of the matrix entries (n_in, n_out), where one draw serves the whole batch."""
    shift: Tensor | None = None
    """A known error, the same at every draw: broadcasts to (B, n_out). Its part along the signal changes k."""
    signal: Tensor | None = None
    """(B, n_out): the product without this source; None: not filled in yet."""
    encodes: bool = False
    """Whether the source stands before all others, so that they act on its output."""
    outside: str = ""
    """Why the closed form does not hold here; empty where it holds."""

    def gain(self) -> Tensor:
        """Return the factor k of the signal s in s' = k s + n, for every sample: (B,) float64.

        Only ``shift`` has a part along s: k = 1 + <s, shift> / |s|^2, and 1 without a shift.
        """
        s = self._signal.double()
        if self.shift is None:
            return s.new_ones(len(s))
        return 1 + (s * self.shift).sum(1) / s.square().sum(1).clamp_min(LEAST)

    def power(self, vectors: Tensor) -> Tensor:
        """Return E|n|^2 of every sample: the power of the error without its part along the signal.

        Args:
            vectors: (B, n_in), the inputs of the product.

        Returns:
            (B,) float64, in the unit of the product squared.
        """
        signal = self._signal
        total = vectors.new_zeros(len(vectors), dtype=torch.float64)
        if self.fresh is not None:
            total += self.fresh.double().expand(signal.shape).sum(1)
        if self.shared is not None:
            total += vectors.double().square() @ self.shared.double().sum(1)
        if self.shift is not None:
            # what lies along the signal changes its size and not its direction: k holds it
            along = (self.gain() - 1).unsqueeze(1) * signal
            total += (self.shift - along).square().sum(1)
        return total

    def nsr2(self, vectors: Tensor) -> Tensor:
        """Return the squared ratio of noise to signal, NSR^2 = E|n|^2 / (k^2 |s|^2), of every sample.

        Args:
            vectors: (B, n_in), the inputs of the product.

        Returns:
            (B,) float64; infinite where nothing of the signal remains.
        """
        k = self.gain()
        size2 = self._signal.double().square().sum(1)
        # without a signal, or with one that a known error has removed, no noise is small
        present = (size2 > LEAST) & (k > LOST)
        return torch.where(present, self.power(vectors) / (k.square() * size2).clamp_min(LEAST), torch.inf)

    def cosine(self, vectors: Tensor) -> Tensor:
        """Return the cosine between the product with this source and without it, sign(k) / sqrt(1 + NSR^2).

        Args:
            vectors: (B, n_in), the inputs of the product.

        Returns:
            (B,) float64; 0 where there is no signal.
        """
        k = self.gain()
        # k keeps its sign: a negative one turns the product round
        scale = k.masked_fill(k.abs() <= LOST, 0.0) * self._signal.double().square().sum(1).sqrt()
        return scale / (scale.square() + self.power(vectors)).sqrt().clamp_min(LEAST)

    def __add__(self, other: Noise) -> Noise:
        """Add the same source in a second array whose output is added (tiles): variances and shifts add up."""
        return replace(
            self,
            fresh=_sum(self.fresh, other.fresh),
            shift=_sum(self.shift, other.shift),
            outside=self.outside or other.outside,
        )

    @property
    def _signal(self) -> Tensor:
        assert self.signal is not None  # noqa: S101 (filled in before a noise leaves its projection)
        return self.signal


class NoiseSource(NamedTuple):
    """A source of noise: its closed form, and a function that draws it, to compare both."""

    noise: Noise
    """Its closed form, with ``signal``."""
    run: Callable[[torch.Generator], Tensor]
    """Compute one pass (B, n_out) in which it is the only error; compared with ``noise.signal``."""


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def rounding_error(x: Tensor, step: float | Tensor) -> Tensor:
    """Return the mean square error of rounding to multiples of a step: s^2/12 beyond half a step, x^2 below.

    s^2/12 is the variance of a number that is uniform between two levels. It holds for signals that spread over several
    levels (Widrow's condition). Numbers within half a step of zero become zero, so that their error is known.

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


def too_coarse(signals: Tensor, levels: Tensor, formula: Tensor, tolerance: float = 0.02) -> str:
    """Check whether :func:`rounding_error` predicts the mean NSR^2 of rounding known signals; say why, if it does not.

    The accepted error is 2 tolerance, since cos = 1/sqrt(1 + NSR^2) changes by at most half of a change of NSR^2.

    Args:
        signals: known signals (B, n), any unit.
        levels: the signals as the converter rounds them, same shape and unit.
        formula: mean squares from :func:`rounding_error`, same shape.
        tolerance: accepted error of the mean cosine.

    Returns:
        Why the model does not hold, in words; empty where it holds.
    """
    size = signals.double().square().sum(1).clamp_min(LEAST)
    measured = ((levels - signals).double().square().sum(1) / size).mean()
    predicted = (formula.double().sum(1) / size).mean()
    if bool((measured - predicted).abs() <= 2 * tolerance):
        return ""
    return f"levels too coarse for s^2/12: rounding has a NSR^2 of {float(measured):.3g}, not {float(predicted):.3g}"


def parallel_part(x: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
    """Split an encoded vector into Q(x) = k x + r with r orthogonal to x.

    A random matrix keeps angles up to 1/sqrt(width), so that

        cos(x B, Q(x) B) = cos(x, Q(x)) = 1/sqrt(1 + |r|^2/|k x|^2).

    Args:
        x: (B, n).
        encoded: Q(x), (B, n).

    Returns:
        k (B, 1), and r (B, n).
    """
    # in float64: squares of the errors of a confident network are no float32 any more
    wide = x.double()
    k = (wide * encoded).sum(1, keepdim=True) / wide.square().sum(1, keepdim=True).clamp_min(LEAST)
    k = k.to(x.dtype)
    return k, encoded - k * x
