"""One product on an analog array: what converters, noise, cells and wires make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hwmodels.converters import bit_planes, doublings, largest
from hwmodels.draws import Source, normal
from hwmodels.quantize import work_dtype
from hwmodels.wires import wire_loss

if TYPE_CHECKING:
    from hwmodels.periphery import Periphery

TINY = 1e-30
"""What inputs or weights that are all zero are divided by; a code per 1e-30 is still a float32."""


def analog_product(io: Periphery, x: Tensor, w: Tensor, gen: torch.Generator | None, unit: Tensor | None) -> Tensor:
    """As :meth:`hwmodels.periphery.Periphery.product` describes."""
    dtype = x.dtype
    if dtype.itemsize < 4:  # too few digits for codes
        x, w = x.to(work_dtype(dtype)), w.to(work_dtype(dtype))
    top = x.new_ones(()) if unit is None else unit.to(x.dtype).clamp_min(TINY)
    if io.sliced:
        return _sliced(io, x, w, top, gen).to(dtype)
    v, alpha = encode(io, x)
    y = torch.mm(v, w)
    # no sum of n_in products of numbers up to 1 reaches a bound above n_in
    if io.bound_management and len(w) >= io.adc.bound:
        halvings = doublings(y, top * (io.adc.bound * io.dac.rate), io.most_doublings)
        v, alpha = encode(io, x, halvings)
        torch.mm(v, w, out=y)
    if io.in_noise:
        v = v.add_(normal(v, gen), alpha=io.in_noise * io.dac.rate)
        torch.mm(v, w, out=y)
    return convert(io, y, v, w, top, alpha, gen).to(dtype)


def encode(io: Periphery, x: Tensor, halvings: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Inputs as codes of the DAC, without noise.

    Args:
        io: the periphery.
        x: (B, n_in), any unit.
        halvings: (B, 1), by how much bound management shrinks a sample; None: 1.

    Returns:
        Codes (B, n_in), and the full scales that they are in units of, (B, 1) or (1, 1), in the unit of ``x``.
    """
    v = x.abs()
    alpha = largest(v, io.full_scale).clamp_min_(TINY)
    if halvings is not None:
        alpha = alpha * halvings
    # not by a reciprocal: the largest input has to become 1 exactly, and 1/2 where it is halved
    v = torch.div(x, alpha, out=v).mul_(io.dac.rate)
    return io.dac.codes(v, clip=io.full_scale == "none", out=v), alpha


def convert(io: Periphery, y: Tensor, v: Tensor, w: Tensor, top: Tensor, alpha: Tensor, gen: Source | None) -> Tensor:
    """What the wires, the cells and the output converter make of a product.

    Args:
        io: the periphery.
        y: (B, n_out), product of ``v`` and ``w``; overwritten.
        v: (B, n_in), codes of the DAC with the noise of the inputs.
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
        v, size = v.div_(io.dac.rate), w.abs()
        if io.ir_drop:
            y = y.sub_(wire_loss(v, w, size, top, io.wire_ratio), alpha=io.ir_drop * adc.rate)
        if io.read_noise:
            power = torch.mm(v.square_(), size).div_(top)
            y = y.addcmul_(normal(y, gen), power.sqrt_(), value=io.read_noise * adc.rate)
    if adc.noise:
        y = y.add_(normal(y, gen), alpha=adc.noise * adc.rate)
    return adc.codes(y, out=y).mul_(alpha * (top / adc.rate))


def _sliced(io: Periphery, x: Tensor, w: Tensor, top: Tensor, gen: torch.Generator | None) -> Tensor:
    """One bit of an input after the other, added up digitally."""
    alpha = largest(x.abs(), io.full_scale)
    planes, factors = bit_planes(io.dac.level(x / alpha.clamp_min(TINY)), io.dac)
    v = planes.flatten(0, 1)
    v = v.add_(normal(v, gen), alpha=io.in_noise) if io.in_noise else v
    y = torch.mm(v, w).mul_(io.dac.rate)
    parts = convert(io, y, v.mul_(io.dac.rate), w, top, x.new_ones(()), gen)
    return parts.view(len(planes), len(x), w.shape[1]).mul_(factors).sum(0).mul_(alpha)
