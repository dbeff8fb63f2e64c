"""The noise of an analog product in closed form: converters, inputs, outputs, cells and wires."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hwmodels.arrays.converters import bit_planes, bound_management
from hwmodels.arrays.periphery import Periphery
from hwmodels.arrays.wires import wire_loss
from hwmodels.numerics.noise_moments import TINY, Noise, rounding_error, too_coarse

INPUT_NOISE, INPUT_ROUNDING = "input noise", "input rounding (DAC)"
OUTPUT_NOISE, OUTPUT_ROUNDING = "output noise", "output rounding (ADC)"
CELL_NOISE, WIRES = "cell noise at the output", "wire resistance"

OPTION_OF = {
    INPUT_NOISE: "in_noise",
    INPUT_ROUNDING: "in_bits",
    OUTPUT_NOISE: "out_noise",
    OUTPUT_ROUNDING: "out_bits",
    CELL_NOISE: "read_noise",
    WIRES: "ir_drop",
}
"""The option of :class:`~hwmodels.arrays.periphery.Periphery` that switches each source on."""


def periphery_with_only(io: Periphery, name: str) -> Periphery:
    """Return the periphery with one source of noise alone; a name that is none of the periphery's leaves no noise.

    Settings that the other sources refer to stay: bound management, which sets the full scale, and the bits of sliced
    inputs.
    """
    # None is an exact converter, 0.0 no noise
    off: dict[str, Any] = {key: None if key.endswith("bits") else 0.0 for key in OPTION_OF.values()}
    off.pop(OPTION_OF.get(name, ""), None)
    if io.sliced:
        off.pop("in_bits", None)
    if "out_bits" in off and not io.bound_management:
        off["out_bound"] = math.inf
    return replace(io, **off)


@dataclass(frozen=True)
class _Product:
    """One product y = u W in units of the full scales, and what the noise of its sources is multiplied with."""

    io: Periphery
    u: Tensor
    """(B, n_in), inputs in units of the full scale alpha."""
    w: Tensor
    """(n_in, n_out), in units of the largest weight."""
    y: Tensor
    """(B, n_out)."""
    gain: Tensor
    """alpha times the largest weight, (B, 1) or (1, 1)."""
    planes: Tensor
    """What is sent: ``u``, or the bits of sliced inputs (bits - 1, B, n_in)."""
    factors: Tensor
    """Weight of every plane in the sum of the conversions, (planes, 1, 1)."""

    @property
    def power(self) -> float:
        """Sum of the squared factors: one conversion a plane, whose noises are independent."""
        return float(self.factors.square().sum())


def product_noises(io: Periphery, x: Tensor, w: Tensor, unit: Tensor) -> tuple[Noise, ...]:
    """List every source of dynamic error of ``analog_product(io, x, w)``.

    In units of the full-scale input alpha and of the largest weight, with u = x / alpha and steps s = 2 bound /
    (2^bits - 2), the variances at output i are: input noise sigma_in^2 sum_j w_ij^2; input rounding
    sum_j rho_j^2 w_ij^2 with rho^2 of :func:`~hwmodels.numerics.noise_moments.rounding_error` (the largest input is a
    level itself); output noise sigma_out^2; output rounding s_out^2/12; cell noise sigma_w^2 sum_j |w_ij| u_j^2. The
    loss along the wires is a known function of the inputs. Sliced inputs have one conversion per bit: the noise of an
    output is multiplied by sum_k (s 2^k)^2.

    Args:
        io: the periphery.
        x: (B, n_in), any unit.
        w: (n_in, n_out), without read noise, any unit.
        unit: the largest weight, 0-dim, in the unit of ``w``.

    Returns:
        In the unit of ``x`` times that of ``w``, without ``signal``.
    """
    alpha, u = _scaled(io, x, w, unit)
    planes, factors = u, u.new_ones(1, 1, 1)
    if io.sliced:
        planes, factors = bit_planes(io.dac.level(u), io.dac)
    w = w / unit.clamp_min(TINY)
    return tuple(_sources(_Product(io, u, w, u @ w, alpha * unit, planes, factors)))


def _sources(p: _Product) -> Iterator[Noise]:
    io, back = p.io, p.gain.square()
    if io.in_noise:
        per_output = io.in_noise**2 * p.power * p.w.square().sum(0)
        yield Noise(name=INPUT_NOISE, formula="n_in sigma_in^2 / |u|^2", fresh=back * per_output)
    if io.in_bits is not None:
        yield _input_rounding(p)
    if io.out_noise:
        fresh = back * (io.out_noise**2 * p.power)
        yield Noise(name=OUTPUT_NOISE, formula="n_out sigma_out^2 / |u W|^2", fresh=fresh)
    if io.out_bits is not None:
        yield _output_rounding(p)
    if io.read_noise:
        spread = (p.planes.square() @ p.w.abs()).reshape(-1, *p.y.shape)
        at_output = (spread * p.factors.square()).sum(0)
        formula = "sigma_w^2 sum_ij |w_ij| u_j^2 / |u W|^2"
        yield Noise(name=CELL_NOISE, formula=formula, fresh=back * io.read_noise**2 * at_output)
    if io.ir_drop:
        loss = wire_loss(p.planes.flatten(0, -2), p.w, p.w.abs(), p.w.new_ones(()), io.wire_ratio)
        lost = (loss.view(-1, *p.y.shape) * p.factors).sum(0)
        yield Noise(name=WIRES, formula="the loss itself, a known function of u", shift=p.gain * lost * -io.ir_drop)


def _scaled(io: Periphery, x: Tensor, w: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Return full scales (B, 1) or (1, 1), bound management included, and the inputs in units of these."""
    size = x.abs()
    if io.full_scale == "none":
        alpha = x.new_ones(1, 1)
    else:
        alpha = size.amax(1, keepdim=True) if io.full_scale == "sample" else size.amax().view(1, 1)
    u = x / alpha.clamp_min(TINY)
    if io.bound_management:
        halved = bound_management((u @ w) / unit.clamp_min(TINY), io.adc.bound, io.most_doublings)
        alpha, u = alpha * halved, u / halved
    return alpha, u


def _input_rounding(p: _Product) -> Noise:
    io, u, step = p.io, p.u, p.io.dac.step
    size = u.abs()
    kept = u * (size * 2 >= step)  # inputs below half a step are rounded to zero
    # the largest input of a full scale is a level itself
    exact = size == size.amax(1, keepdim=True) if io.full_scale == "sample" else size == size.amax()
    exact &= io.full_scale != "none"
    between = torch.full_like(u, step**2 / 12).masked_fill_((kept == 0) | exact, 0.0)
    outside = _clipping(io, u, 1.0)
    if not outside:
        outside = too_coarse(u, io.dac.level(u), rounding_error(u, step).masked_fill_(exact, 0.0))
    return Noise(
        name=INPUT_ROUNDING,
        formula="n_in s^2 / (12 |u|^2)",
        shift=p.gain * ((kept - u) @ p.w),
        fresh=p.gain.square() * (between @ p.w.square()),
        outside=outside,
    )


def _output_rounding(p: _Product) -> Noise:
    io, y, step = p.io, p.y, p.io.adc.step
    noise = Noise(name=OUTPUT_ROUNDING, formula="n_out s^2 / (12 |u W|^2)", outside=_clipping(io, y, io.adc.bound))
    if io.sliced:
        return replace(noise, fresh=p.gain.square() * torch.full_like(y, p.power * step**2 / 12))
    kept = y * (y.abs() * 2 >= step)  # outputs below half a step are rounded to zero
    between = torch.full_like(y, step**2 / 12).masked_fill_(kept == 0, 0.0)
    outside = noise.outside or too_coarse(y, io.adc.level(y), rounding_error(y, step))
    return replace(noise, fresh=p.gain.square() * between, shift=p.gain * (kept - y), outside=outside)


def _clipping(io: Periphery, x: Tensor, bound: float) -> str:
    """Say whether a converter clips too many signals for rounding to be its only error; empty where it does not."""
    if io.bound_management and bound != 1.0:
        return ""
    share = float((x.abs() > bound * (1 + 1e-5)).double().mean()) if x.numel() else 0.0
    return f"{100 * share:.2g} % of the signals are clipped" if share > 1e-3 else ""
