"""Converters between digital numbers and analog signals, and the full scales that they work at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from hwmodels.errors import NOT_NEGATIVE, POSITIVE, NeurofaError, check_options, one_of
from hwmodels.format import ROUNDING, check_bits, grid_step, round_stochastically, work_dtype
from hwmodels.numerics.random import normal

Scale = Literal["sample", "batch", "none"]
"""The numbers that share one full scale: every sample, the whole batch, or none (it is fixed at 1)."""

SCALE = one_of("sample", "batch", "none")


@dataclass(frozen=True, kw_only=True)
class Converter:
    """A quantiser with a bound: levels q s, s = 2 bound / (2^bits - 2), an odd number of them, so that zero is exact.

    Args:
        bits: n, resolution, 2 to 24; None converts exactly.
        bound: largest signal, > 0, in the unit of the signal; the converter clips beyond it.
        noise: standard deviation of the Gaussian noise on the analog side, in the unit of the signal, 0 or more.
        rounding: to the ``nearest`` level, or ``stochastic``.

    Source: aihwkit (Rasch et al. 2021, arXiv 2104.02184), parameters of the analog input and output.
    """

    name: ClassVar[str] = "Converter"

    bits: int | None = 8
    bound: float = 1.0
    noise: float = 0.0
    rounding: Literal["nearest", "stochastic"] = "nearest"

    def __post_init__(self) -> None:
        check_options(self, ROUNDING, "rounding", remedy="choose one")
        check_options(self, POSITIVE, "bound", remedy="change the bound")
        check_options(self, NOT_NEGATIVE, "noise", remedy="change noise")
        if self.bits is not None:
            check_bits(self.name, self.bits, one=f"use {self.name}(bits=2) for three levels")

    @property
    def step(self) -> float:
        """Distance s of two levels, in the unit of the signal; 0 for exact conversion."""
        return 0.0 if self.bits is None else 2 * self.bound / (2**self.bits - 2)

    @property
    def rate(self) -> float:
        """Codes per unit of the signal: 1/s, or 1 for exact conversion."""
        return 1.0 if self.bits is None else (2 ** (self.bits - 1) - 1) / self.bound

    def codes(self, q: Tensor, *, clip: bool = True, out: Tensor | None = None) -> Tensor:
        """Round signals to the nearest codes (whole numbers), without noise.

        Args:
            q: signal times :attr:`rate`, float32 or wider, any shape.
            clip: False where the signal is known to lie within the bound.
            out: written to and returned; may be ``q``.

        Returns:
            Whole numbers (any number for exact conversion) in the shape of ``q``.
        """
        if self.bits is not None:
            q = torch.round(q, out=out)
        # the largest code; for exact conversion the bound itself
        top = self.bound * self.rate
        return torch.clamp(q, -top, top, out=out) if clip else q

    def level(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Round signals to the nearest (or a stochastically chosen) level within the bound.

        Args:
            x: signals, any shape and unit.
            gen: source of stochastic rounding.

        Returns:
            Levels in the shape and unit of ``x``.
        """
        q = x.detach().to(work_dtype(x.dtype))
        if self.bits is not None and self.rounding == "stochastic":
            top = 2 ** (self.bits - 1) - 1
            step = grid_step(self.bound, top, q.dtype)
            return round_stochastically(q / step, gen).clamp_(-top, top).mul_(step).to(x.dtype)
        q = q * self.rate
        return self.codes(q, out=q).div_(self.rate).to(x.dtype)


class DAC(Converter):
    """Digital to analog: quantise, then add the noise of the line."""

    name = "DAC"

    def convert(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return the analog signals clip(Q(x)) + noise xi, xi standard normal, in the shape and unit of ``x``."""
        v = self.level(x, gen)
        return v.add_(normal(v, gen), alpha=self.noise) if self.noise else v


class ADC(Converter):
    """Analog to digital: add the noise of the line, then quantise."""

    name = "ADC"

    def convert(self, y: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return the numbers clip(Q(y + noise xi)), xi standard normal, in the shape and unit of ``y``."""
        return self.level(torch.add(y, normal(y, gen), alpha=self.noise) if self.noise else y, gen)


def full_scale(x: Tensor, per: Scale) -> Tensor:
    """Return the digital factor that brings inputs to the range of the converter (noise management ABS_MAX).

    Args:
        x: (B, n), any unit.
        per: ``sample`` gives max_j |x_j| of each row, ``batch`` the largest of all rows, ``none`` 1.

    Returns:
        (B, 1) for ``sample``, else (1, 1), in the unit of ``x``; 1 where all inputs are zero.
    """
    size = largest_size(x.abs(), per)
    return torch.where(size > 0, size, torch.ones_like(size))


def largest_size(sizes: Tensor, per: Scale) -> Tensor:
    """Return full scales as :func:`full_scale` does, but 0 where all inputs are zero.

    Args:
        sizes: (B, n), magnitudes of the inputs.
        per: as in :func:`full_scale`.
    """
    if per == "none" or not sizes.numel():
        return sizes.new_ones((1, 1))
    return sizes.amax(dim=1, keepdim=True) if per == "sample" else sizes.amax().view(1, 1)


def bound_management(y: Tensor, bound: float | Tensor, most: int) -> Tensor:
    """Return the power of two by which the inputs are divided so that no output of a sample reaches the bound.

    k = clamp(ceil(log2(max_i |y_i| / bound)), 0, most) is the end of the iteration *halve and try again*. It is
    predicted from noise-free outputs, so that nothing waits for the host.

    Args:
        y: (B, n_out), outputs without noise, in the unit of ``bound``.
        bound: full scale of the ADC.
        most: largest k.

    Returns:
        2^k, (B, 1).
    """
    # the factor is slightly above 1, so that an output exactly at the bound is halved as well
    excess = y.abs().amax(dim=1, keepdim=True).mul_(2**1e-6 / bound)
    return excess.log2_().ceil_().clamp_(0, most).exp2_()


def bit_planes(v: Tensor, dac: DAC) -> tuple[Tensor, Tensor]:
    """Split quantised inputs into one pulse train per bit: v = s sum_k 2^k p_k with p_k in {-1, 0, +1}.

    Args:
        v: (B, n), levels of ``dac``.
        dac: the converter that made them; needs bits.

    Returns:
        Planes p (bits - 1, B, n) and factors s 2^k (bits - 1, 1, 1), in the unit of ``v``.

    Raises:
        NeurofaError: the converter is exact.
    """
    if dac.bits is None:
        raise NeurofaError("got bit-sliced inputs without in_bits; expected 2 to 24 bits; set in_bits")
    # the bits are those of the magnitude: a pulse carries the sign of its input
    codes = (v.abs() / dac.step).round_().to(torch.int32)
    powers = torch.arange(dac.bits - 1, device=v.device, dtype=torch.int32).view(-1, 1, 1)
    planes = (codes >> powers).bitwise_and_(1).to(v.dtype).mul_(v.sign())
    return planes, torch.exp2(powers.to(v.dtype)).mul_(dac.step)
