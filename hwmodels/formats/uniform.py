"""Whole-number codes times a scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hwmodels.errors import POSITIVE_OR_NONE, NeurofaError, check_options, one_of
from hwmodels.format import ROUNDING, Format, check_bits, grid_step, round_stochastically, work_dtype


@dataclass(frozen=True, kw_only=True)
class Uniform(Format, name="uniform"):
    """Evenly spaced values: Q(x) = s clamp(round(x / s), q_min, q_max).

    Symmetric (b bits): q in +-(2^(b-1) - 1), s = full scale / (2^(b-1) - 1). Asymmetric: 2^b levels between min and
    max, both moved out to include 0, s = (max - min) / (2^b - 1); q = clamp(round(x / s) + z, 0, 2^b - 1) with the zero
    point z = round(-min / s), so that zero is exact. Nearest rounding goes to the even code at a half, as ONNX does.

    Args:
        bits: b, width of one code, 2 to 24.
        range: full scale in the unit of x, > 0: the grid covers [-range, range] and clips beyond; None takes max |x|
            (or min and max) of the tensor each time.
        symmetric: whether there are as many codes below zero as above.
        per: one scale for the ``tensor``, or one for each index of the first axis (``channel``).
        rounding: to the ``nearest`` code, or ``stochastic``: up with a probability equal to the fraction, unbiased,
            with a variance of at most s^2 / 4.
    """

    source = "ONNX QuantizeLinear; Jacob et al. 2018, arXiv 1712.05877, eq. 1 (affine); Gupta et al. 2015 (stochastic)"

    bits: int = 8
    range: float | None = None
    symmetric: bool = True
    per: Literal["tensor", "channel"] = "tensor"
    rounding: Literal["nearest", "stochastic"] = "nearest"

    def __post_init__(self) -> None:
        check_bits("uniform", self.bits, one="use sign for one bit")
        check_options(self, ROUNDING, "rounding", remedy="choose one")
        check_options(self, POSITIVE_OR_NONE, "range")
        check_options(self, one_of("tensor", "channel"), "per", remedy="choose one")

    def quantize(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Map every entry onto the grid, as in :meth:`Format.quantize`.

        Raises:
            NeurofaError: stochastic rounding without a generator, or a channel scale for fewer than two axes.
        """
        if self.per == "channel" and x.ndim < 2:
            raise NeurofaError(
                f"got a tensor of shape {tuple(x.shape)} for uniform(per=channel); expected two axes or more;"
                " use per=tensor"
            )
        x32 = x.detach().to(work_dtype(x.dtype))
        if self.symmetric and self.range is not None:
            # a known step is a number, not a tensor: every tick of a spiking network comes through here
            top = 2 ** (self.bits - 1) - 1
            step = grid_step(self.range, top, x32.dtype)
            return self._round(x32 / step, gen).clamp_(-top, top).mul_(step).to(x.dtype)
        low, high = self._ends(x32)
        tiny = torch.finfo(x32.dtype).tiny  # an all-zero tensor divides zero by this
        if self.symmetric:
            top = 2 ** (self.bits - 1) - 1
            scale = (torch.maximum(high, -low) / top).clamp_min_(tiny)
            codes = self._round(x32 / scale, gen).clamp_(-top, top)
        else:
            levels = 2**self.bits - 1
            scale = ((high - low) / levels).clamp_min_(tiny)
            zero = (-low / scale).round_()
            codes = torch.minimum(torch.maximum(self._round(x32 / scale, gen), -zero), levels - zero)
        return codes.mul_(scale).to(x.dtype)

    def _round(self, q: Tensor, gen: torch.Generator | None) -> Tensor:
        return q.round_() if self.rounding == "nearest" else round_stochastically(q, gen)

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the smallest and largest number to represent, 0 included; 0-dim, or one per channel (n, 1, ...)."""
        if self.range is not None:
            full = x.new_full((), self.range)
            return -full, full
        if self.per == "tensor":
            low, high = x.aminmax()
        else:
            shape = (x.shape[0],) + (1,) * (x.ndim - 1)
            low, high = (end.view(shape) for end in x.flatten(1).aminmax(dim=1))
        return low.clamp_max(0), high.clamp_min(0)

    def inside(self, x: Tensor) -> Tensor | None:
        """Return |x| <= range, booleans shaped as ``x``; None where the full scale follows the tensor."""
        return None if self.range is None else x.abs() <= self.range
