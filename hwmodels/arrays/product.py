"""One matrix product on an analog array: converters, noise, cells and wires."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.arrays.converters import bit_planes, bound_management, largest_size
from hwmodels.arrays.periphery import Periphery
from hwmodels.arrays.wires import wire_loss
from hwmodels.format import work_dtype
from hwmodels.numerics.bf16 import bf16_pays, rough_product
from hwmodels.numerics.random import RandomSource, normal

TINY = 1e-30
"""Least divisor of inputs or weights that are all zero; a code per 1e-30 is still a float32."""
FREE_TO_LOOK = frozenset({"cpu"})
"""Types of devices where reading a number on the host waits for nothing; an accelerator would be waited for."""


def analog_product(
    io: Periphery, x: Tensor, w: Tensor, gen: RandomSource | None = None, *, unit: Tensor | None = None
) -> Tensor:
    """Return the product x W as an analog array computes it, with converters, noise and losses.

    A sample whose inputs are all zero gives outputs of about 1e-30 or 0 where every sample has a full scale of its own;
    with the full scale of a batch, or a fixed one, it gives the noise of the array.

    Args:
        io: converters and noise of the array.
        x: (B, n_in), any unit.
        w: (n_in, n_out), as this pass reads them, in units of the largest weight, or in any unit with ``unit``.
        gen: source of all noise, on the device of ``x``.
        unit: the largest weight, 0-dim, in the unit of ``w``; None: 1.

    Returns:
        (B, n_out), in the unit of ``x`` times that of ``w``.
    """
    dtype = x.dtype
    if dtype.itemsize < 4:  # too few digits for codes
        x, w = x.to(work_dtype(dtype)), w.to(work_dtype(dtype))
    top = x.new_ones(()) if unit is None else unit.to(x.dtype).clamp_min(TINY)
    if io.sliced:
        return _sliced(io, x, w, top, gen).to(dtype)
    v, alpha = _scaled(io, x)
    y: Tensor | None = None
    # n_in products of numbers up to 1 cannot add up to a bound above n_in
    if io.bound_management and len(w) >= io.adc.bound:
        v, y, halvings = _fitted(io, v, w, top)
        alpha = alpha * halvings
    else:
        v = io.dac.codes(v, clip=io.full_scale == "none", out=v)
    if io.in_noise:
        v, y = v.add_(normal(v, gen), alpha=io.in_noise * io.dac.rate), None
    y = torch.mm(v, w) if y is None else y
    return _converted(io, y, v, w, top, alpha, gen).to(dtype)


def _scaled(io: Periphery, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inputs in codes of the DAC, not yet rounded, and the full scales alpha, (B, 1) or (1, 1)."""
    if io.full_scale == "none":
        return x * io.dac.rate, x.new_ones((1, 1))
    v = x.abs()
    alpha = largest_size(v, io.full_scale).clamp_min_(TINY)
    # a division, not a reciprocal: the largest input has to become 1 exactly, and 1/2 where it is halved
    return torch.div(x, alpha, out=v).mul_(io.dac.rate), alpha


def _fitted(io: Periphery, v: Tensor, w: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Halve inputs until their products fit the ADC: the codes, their products, and 2^halvings (B, 1)."""
    codes = io.dac.codes(v, clip=io.full_scale == "none")
    y = torch.mm(codes, w)
    halvings = bound_management(y, top * (io.adc.bound * io.dac.rate), io.most_doublings)
    if y.device.type in FREE_TO_LOOK and not torch.compiler.is_compiling():
        # few samples are halved as a rule: only their products are computed again
        rows = (halvings.view(-1) > 1).nonzero().view(-1)
        if 2 * len(rows) < len(v):
            halved = v.index_select(0, rows).div_(halvings.index_select(0, rows))
            halved = io.dac.codes(halved, clip=io.full_scale == "none", out=halved)
            return codes.index_copy_(0, rows, halved), y.index_copy_(0, rows, torch.mm(halved, w)), halvings
    codes = io.dac.codes(v.div_(halvings), clip=io.full_scale == "none", out=codes)
    return codes, torch.mm(codes, w, out=y), halvings


def _converted(
    io: Periphery, y: Tensor, v: Tensor, w: Tensor, top: Tensor, alpha: Tensor, gen: RandomSource | None
) -> Tensor:
    """Apply wire loss, cell noise and the output converter to a product.

    Args:
        io: the periphery.
        y: (B, n_out), product of ``v`` and ``w``; overwritten.
        v: (B, n_in), codes of the DAC with the noise of the inputs; overwritten.
        w: (n_in, n_out), any unit.
        top: the largest weight, 0-dim, in the unit of ``w``.
        alpha: full scales of the inputs, (B, 1) or (1, 1).
        gen: source of the noise.

    Returns:
        (B, n_out), in the unit of ``alpha`` times that of ``w``.
    """
    adc = io.adc
    y = y.mul_(adc.rate / io.dac.rate / top)  # in codes of the ADC
    if io.ir_drop or io.read_noise:
        # three digits are enough for a correction and for the size of a noise
        v, few = v.div_(io.dac.rate), w.bfloat16() if bf16_pays(v, w) else w
        size = few.abs()
        if io.ir_drop:
            y = y.sub_(wire_loss(v, few, size, top, io.wire_ratio, rough_product), alpha=io.ir_drop * adc.rate)
    if io.read_noise:
        # independent Gaussian noises of one output add up in variance: one draw serves both
        variance = rough_product(v.square_(), size).mul_(io.read_noise**2 / top).add_(adc.noise**2)
        y = y.addcmul_(normal(y, gen), variance.sqrt_(), value=adc.rate)
    elif adc.noise:
        y = y.add_(normal(y, gen), alpha=adc.noise * adc.rate)
    return adc.codes(y, out=y).mul_(alpha * (top / adc.rate))


def _sliced(io: Periphery, x: Tensor, w: Tensor, top: Tensor, gen: RandomSource | None) -> Tensor:
    """Multiply bit by bit: every bit of the inputs is sent and converted alone, and added up digitally."""
    alpha = largest_size(x.abs(), io.full_scale)
    planes, factors = bit_planes(io.dac.level(x / alpha.clamp_min(TINY)), io.dac)
    v = planes.flatten(0, 1)
    v = v.add_(normal(v, gen), alpha=io.in_noise) if io.in_noise else v
    y = torch.mm(v, w).mul_(io.dac.rate)
    parts = _converted(io, y, v.mul_(io.dac.rate), w, top, x.new_ones(()), gen)
    return parts.view(len(planes), len(x), w.shape[1]).mul_(factors).sum(0).mul_(alpha)
