"""The noise of an analog array in closed form: converters, inputs, outputs, cells and wires around one product."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hwmodels.arrays.converters import bit_planes, doublings
from hwmodels.arrays.periphery import Periphery
from hwmodels.arrays.wires import wire_loss
from hwmodels.numerics.noise_moments import TINY, Noise, coarse, in_words, rounding

INPUT_NOISE, INPUT_ROUNDING = "input noise", "input rounding (DAC)"
OUTPUT_NOISE, OUTPUT_ROUNDING = "output noise", "output rounding (ADC)"
CELL_NOISE, WIRES = "cell noise at the output", "wire resistance"


def only(io: Periphery, name: str) -> Periphery:
    """The periphery with one source alone, or with none (an unknown name).

    What the others need stays: bound management, which sets the full scale, and the bits of sliced inputs.
    """
    keeps: dict[str, tuple[str, ...]] = {
        INPUT_NOISE: ("in_noise",), INPUT_ROUNDING: ("in_bits",), OUTPUT_NOISE: ("out_noise",),
        OUTPUT_ROUNDING: ("out_bits",), CELL_NOISE: ("read_noise",), WIRES: ("ir_drop",),
    }  # fmt: skip
    off: dict[str, Any] = {"in_noise": 0.0, "in_bits": None, "out_noise": 0.0, "out_bits": None, "read_noise": 0.0}
    off["ir_drop"] = 0.0
    for key in keeps.get(name, ()):
        off.pop(key)
    if io.sliced:
        off.pop("in_bits", None)
    if "out_bits" in off and not io.bound_management:
        off["out_bound"] = math.inf
    return replace(io, **off)


def noises(io: Periphery, x: Tensor, w: Tensor, unit: Tensor) -> tuple[Noise, ...]:
    """Every source of dynamic error of ``io.product(x, w)``.

    In units of the full-scale input alpha and of the largest weight, with u = x / alpha and steps s = 2 bound /
    (2^bits - 2), the variances at output i are: input noise sigma_in^2 sum_j w_ij^2; input rounding
    sum_j rho_j^2 w_ij^2 with rho^2 of :func:`~hwmodels.numerics.noise_moments.rounding` (the largest input is a
    level itself); output
    noise sigma_out^2; output rounding s_out^2/12; cell noise sigma_w^2 sum_j |w_ij| u_j^2. The loss along the wires is
    a known function of the inputs. Sliced inputs have one conversion a bit: noise of an output comes with
    sum_k (s 2^k)^2.

    Args:
        io: the periphery.
        x: (B, n_in), any unit.
        w: (n_in, n_out), without read noise, any unit.
        unit: the largest weight, 0-dim, in the unit of ``w``.

    Returns:
        In the unit of ``x`` times that of ``w``, without ``signal``.
    """
    alpha, u = _scaled(io, x, w, unit)
    v, factors = u, u.new_ones(1)
    if io.sliced:
        planes, weights = bit_planes(io.dac.level(u), io.dac)
        v, factors = planes, weights.flatten()
    w = w / unit.clamp_min(TINY)
    gain, power = alpha * unit, float(factors.square().sum())
    back, square, y = gain.square(), w.square(), u @ w
    found = []
    if io.in_noise:
        per_output = io.in_noise**2 * power * square.sum(0)
        found.append(Noise(name=INPUT_NOISE, formula="n_in sigma_in^2 / |u|^2", fresh=back * per_output))
    if io.in_bits is not None:
        found.append(_input_rounding(io, u, w, gain))
    if io.out_noise:
        formula = "n_out sigma_out^2 / |u W|^2"
        found.append(Noise(name=OUTPUT_NOISE, formula=formula, fresh=back * (io.out_noise**2 * power)))
    if io.out_bits is not None:
        step, outside = io.adc.step, _beyond(io, y, io.adc.bound)
        formula = "n_out s^2 / (12 |u W|^2)"
        if io.sliced:
            said = torch.full_like(y, power * step**2 / 12)
            found.append(Noise(name=OUTPUT_ROUNDING, formula=formula, fresh=back * said, outside=outside))
        else:
            outside = outside or coarse(y, io.adc.level(y), rounding(y, step))
            left = y * (y.abs() * 2 >= step)  # the rest is less than half a step and is lost whole
            between = torch.full_like(y, step**2 / 12).masked_fill_(left == 0, 0.0)
            lossy = Noise(name=OUTPUT_ROUNDING, formula=formula, outside=outside)
            found.append(replace(lossy, fresh=back * between, shift=gain * (left - y)))
    if io.read_noise:
        spread = (v.square() @ w.abs()).reshape(-1, *y.shape)
        at_output = (spread * factors.square().view(-1, 1, 1)).sum(0)
        formula = "sigma_w^2 sum_ij |w_ij| u_j^2 / |u W|^2"
        found.append(Noise(name=CELL_NOISE, formula=formula, fresh=back * io.read_noise**2 * at_output))
    if io.ir_drop:
        lost = wire_loss(v.flatten(0, -2), w, w.abs(), w.new_ones(()), io.wire_ratio).view(-1, *y.shape) * factors.view(
            -1, 1, 1
        )
        formula = "the loss itself, a known function of u"
        found.append(Noise(name=WIRES, formula=formula, shift=gain * lost.sum(0) * -io.ir_drop))
    return tuple(found)


def _scaled(io: Periphery, x: Tensor, w: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Full scales (B, 1) or (1, 1) with bound management in them, and the inputs in units of these."""
    size = x.abs()
    if io.full_scale == "none":
        alpha = x.new_ones(1, 1)
    else:
        alpha = size.amax(1, keepdim=True) if io.full_scale == "sample" else size.amax().view(1, 1)
    u = x / alpha.clamp_min(TINY)
    if io.bound_management:
        halved = doublings((u @ w) / unit.clamp_min(TINY), io.adc.bound, io.most_doublings)
        alpha, u = alpha * halved, u / halved
    return alpha, u


def _input_rounding(io: Periphery, u: Tensor, w: Tensor, gain: Tensor) -> Noise:
    step = io.dac.step
    left = u * (u.abs() * 2 >= step)  # the rest is less than half a step and is lost whole
    size = u.abs()
    exact = size == size.amax(1, keepdim=True) if io.full_scale == "sample" else size == size.amax()
    exact &= io.full_scale != "none"
    between = torch.full_like(u, step**2 / 12).masked_fill_((left == 0) | exact, 0.0)
    outside = _beyond(io, u, 1.0)
    if not outside:
        outside = coarse(u, io.dac.level(u), rounding(u, step).masked_fill_(exact, 0.0))
    return Noise(
        name=INPUT_ROUNDING, formula="n_in s^2 / (12 |u|^2)", shift=gain * ((left - u) @ w),
        fresh=gain.square() * (between @ w.square()), outside=outside,
    )  # fmt: skip


def _beyond(io: Periphery, x: Tensor, bound: float) -> str:
    """Why rounding is not all that a converter does: too many signals are cut off."""
    if io.bound_management and bound != 1.0:
        return ""
    share = float((x.abs() > bound * (1 + 1e-5)).double().mean()) if x.numel() else 0.0
    return in_words(share, "of the signals are clipped") if share > 1e-3 else ""
