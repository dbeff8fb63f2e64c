"""Weights of a few bits, without a shadow copy in floating point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells, Device
from hwmodels.errors import POSITIVE_OR_NONE, NeurofaError, check_options
from hwmodels.format import ROUNDING, check_bits, work_dtype
from hwmodels.numerics.random import uniform

FEW = 16
"""Weights, without zeros, below which one code for all of them may be chance."""
ONE_CODE = 0.99
"""Share of the weights in one code above which the device holds nothing of the matrix."""


@dataclass(frozen=True, kw_only=True)
class Fixed(Device, name="fixed"):
    """A digital word of ``bits`` bits per weight: w = s q, q a whole number in +-(2^(bits-1) - 1).

    The full scale is ``range`` or, when None, headroom / sqrt(fan_in), fan_in being the product of all axes but the
    first; s = full scale / (2^(bits-1) - 1). A matrix of which one code is left is refused. Writing gives q' =
    clamp(q + round(change / s)). With rounding to the nearest code a change below s / 2 is lost and learning stalls;
    stochastic rounding keeps every change in the mean.

    Cells: ``code`` (q, whole numbers in the dtype and shape of the weights) and ``scale`` (s, 0-dim); dimensionless.

    Args:
        bits: width of one weight, 2 to 24.
        range: full scale, > 0, in the unit of the weights; None derives it from the fan-in.
        headroom: full scale times sqrt(fan_in) when ``range`` is None, > 0; None takes 3, of which a uniform draw with
            bounds 1/sqrt(fan_in) fills a third, and 1 for the three codes of 2 bits, where all of that draw would round
            to zero.
        rounding: of a write: ``nearest`` or ``stochastic``. Programming always rounds to the nearest.
    """

    source = "Gupta et al. 2015, arXiv 1502.02551, sections 2 and 3 (fixed point, stochastic rounding)"

    bits: int = 8
    range: float | None = None
    headroom: float | None = None
    rounding: Literal["nearest", "stochastic"] = "stochastic"

    def __post_init__(self) -> None:
        check_bits("fixed", self.bits, one="use fixed(bits=2) for the values -1, 0 and +1 times the full scale")
        check_options(self, ROUNDING, "rounding", remedy="choose one")
        check_options(self, POSITIVE_OR_NONE, "range")
        check_options(self, POSITIVE_OR_NONE, "headroom")

    @classmethod
    def revision_of(cls, options: Mapping[str, object]) -> int:
        # two bits had a headroom of 3, at which all of an initial matrix became zero
        default = options.get("range") is None and options.get("headroom") is None
        return 2 if default and options.get("bits") == 2 else cls.revision

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), digital=True, word_bits=self.bits, rounding=self.rounding)

    def grid(self, cells: Cells) -> tuple[int, float]:
        return self.bits, float(cells["scale"])

    @property
    def top(self) -> int:
        """The largest code, 2^(bits-1) - 1."""
        return (1 << (self.bits - 1)) - 1

    def full_scale(self, fan_in: int) -> float:
        """Return the largest weight: ``range``, or headroom / sqrt(fan_in)."""
        if self.range is not None:
            return self.range
        headroom = self.headroom if self.headroom is not None else (1.0 if self.bits == 2 else 3.0)
        return headroom / math.sqrt(fan_in)

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Round the target to the nearest codes.

        Args:
            target: the wanted weights, any shape, dimensionless.
            gen: not used.

        Returns:
            ``code`` shaped as ``target`` and 0-dim ``scale``; targets beyond the full scale are clipped.

        Raises:
            NeurofaError: the dtype cannot hold the codes exactly, or nearly all different weights become one code.
        """
        if self.top > 2 / torch.finfo(target.dtype).eps:
            raise NeurofaError(
                f"got weights of {target.dtype} for fixed(bits={self.bits}); expected a dtype that holds the codes"
                " exactly; use float32"
            )
        full = self.full_scale(math.prod(target.shape[1:]))
        cells = self._rounded(target, target.new_full((), full / self.top))
        self._check_codes(target, cells["code"], full)
        return cells

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Round a new target to the same codes; a matrix that is tracked while it grows may pass through one code."""
        return self._rounded(target, cells["scale"])

    def _rounded(self, target: Tensor, scale: Tensor) -> Cells:
        return {"code": (target / scale).round_().clamp_(-self.top, self.top), "scale": scale}

    def _check_codes(self, target: Tensor, code: Tensor, full: float) -> None:
        """Refuse a grid on which nearly all of many different weights that are not zero are one code."""
        wanted = target != 0  # zeros of a sparse matrix are no loss
        count = int(wanted.sum())
        if count < FEW or target.amin() == target.amax():
            return
        for one in (0, self.top, -self.top):
            share = int((wanted & (code == one)).sum()) / count
            if share > ONE_CODE:
                typical = float(target[wanted].abs().median())
                raise NeurofaError(
                    f"got weights of about {typical:.2g} for {self!r} with a full scale of {full:.2g}, where"
                    f" {share:.1%} of them become the code {one}; expected several codes in use; use"
                    f" fixed(bits={self.bits}, range={1.5 * typical:.2g}) or more bits"
                )

    def value(self, cells: Cells) -> Tensor:
        """Return the weights s q."""
        return cells["code"] * cells["scale"]

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Move every code by the rounded number of steps; the scale never changes.

        Args:
            cells: the present cells.
            change: requested addition to the weights, same shape, dimensionless.
            gen: source of the rounding, on the device of the cells.

        Returns:
            The cells afterwards.

        Raises:
            NeurofaError: stochastic rounding without a generator.
        """
        code, scale = cells["code"], cells["scale"]
        if self.rounding == "nearest":
            steps = (change / scale).round_()
        else:
            # floor(U + change / s) in the memory of U: drawing U is the cost of a write, and one buffer is enough.
            # The code is added afterwards, so that a small change is not rounded away beside a large code.
            u = uniform(change.to(work_dtype(change.dtype)), gen)
            steps = u.addcdiv_(change, scale).floor_()
        return {"code": steps.add_(code).clamp_(-self.top, self.top).to(code.dtype), "scale": scale}
