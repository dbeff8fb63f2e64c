"""The periphery of an analog array: converters, full scales, output noise, wire resistance, bit-sliced inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from hwmodels.arrays.converters import ADC, DAC, SCALE
from hwmodels.errors import NOT_NEGATIVE, POSITIVE, NeurofaError, check_options
from hwmodels.registry import Registered, recipe

_AIHWKIT = "aihwkit 1.1, input and output parameters (Rasch et al. 2021, arXiv 2104.02184)"


@dataclass(frozen=True, kw_only=True)
class Periphery(Registered, kind="periphery", name="periphery"):
    """Converters and noise around one analog product, y = alpha ADC(W DAC(x / alpha) + noise).

    :func:`~hwmodels.arrays.product.analog_product` computes it, in this order: scale by alpha, quantise and clip the
    input, input noise, product, loss along the wires, output noise, quantise and clip the output, scale back. Weights
    are in units of the largest weight, inputs in units of alpha.

    Args:
        in_bits: resolution of the DAC; None is exact.
        in_noise: standard deviation of the input noise, in units of the full-scale input.
        out_bits: resolution of the ADC; None is exact (it still clips).
        out_bound: full scale of the ADC, in units of (full-scale input x largest weight); 1e999 never clips.
        out_noise: standard deviation of the output noise, in the same unit.
        read_noise: sigma_w of the weights, seen at the output: y_i += sigma_w sqrt(sum_j |w_ij| x_j^2) xi
            (phase-change memory, whose noise is proportional to the root of the conductance).
        ir_drop: strength of the voltage loss along the wires, 1 for the geometry of ``wire_ratio``, 0 for none.
        wire_ratio: gamma, conductance of a wire piece over the largest cell conductance; 0.35 Ohm and 5 uS by default.
        full_scale: alpha is max|x| of each ``sample`` or of the ``batch`` (which couples samples), or ``none``: 1.
        bound_management: halve the inputs of a sample until its outputs fit the ADC.
        sliced: send one input bit at a time, convert each, and add up digitally.
    """

    source = _AIHWKIT

    in_bits: int | None = 7
    in_noise: float = 0.0
    out_bits: int | None = 9
    out_bound: float = 12.0
    out_noise: float = 0.06
    read_noise: float = 0.0
    ir_drop: float = 0.0
    wire_ratio: float = 1 / 0.35 / 5e-6
    full_scale: Literal["sample", "batch", "none"] = "sample"
    bound_management: bool = False
    sliced: bool = False
    dac: DAC = field(init=False, repr=False, compare=False)
    """The input converter."""
    adc: ADC = field(init=False, repr=False, compare=False)
    """The output converter."""

    def __post_init__(self) -> None:
        check_options(self, SCALE, "full_scale", remedy="choose one")
        check_options(self, NOT_NEGATIVE, "read_noise", "ir_drop", remedy="change it")
        check_options(self, POSITIVE, "wire_ratio", remedy="change it")
        if math.isinf(self.out_bound) and (self.out_bits is not None or self.bound_management):
            raise NeurofaError("got an ADC with bits but no bound; expected a bound; set out_bound or out_bits=None")
        if self.sliced and self.in_bits is None:
            raise NeurofaError("got sliced=True without in_bits; expected 2 to 24 bits; set in_bits")
        if self.sliced and self.bound_management:
            raise NeurofaError(
                "got sliced=True with bound_management=True; expected one of them, a bit cannot be halved; drop one"
            )
        bound = torch.finfo(torch.float32).max if math.isinf(self.out_bound) else self.out_bound
        object.__setattr__(self, "dac", DAC(bits=self.in_bits, noise=self.in_noise))
        object.__setattr__(self, "adc", ADC(bits=self.out_bits, bound=bound, noise=self.out_noise))

    @property
    def most_doublings(self) -> int:
        """Most halvings of the inputs by bound management: a factor of 1000, or the last that leaves 2 bits to them."""
        # this factor leaves four levels, 2 bits, to the inputs
        inputs = 1000.0 if self.in_bits is None else 0.25 * (2**self.in_bits - 2)
        return max(0, int(math.log2(min(1000.0, inputs))))

    @property
    def exact(self) -> bool:
        """Whether the analog product is the matrix product itself: nothing is quantised, clipped, lost or noisy."""
        clips = self.full_scale == "none" or not math.isinf(self.out_bound)
        return not (clips or self.in_bits or self.out_bits or self.noisy or self.ir_drop)

    @property
    def noisy(self) -> bool:
        """Whether a product draws random numbers, so that it needs a generator."""
        return bool(self.in_noise or self.out_noise or self.read_noise)


@recipe("periphery", "exact", "matrix product")
def exact() -> Periphery:
    """No converters and no noise: the product itself, but for floating-point rounding."""
    return Periphery(in_bits=None, out_bits=None, out_bound=math.inf, out_noise=0.0)


@recipe("periphery", "training", f"{_AIHWKIT}, PresetIOParameters")
def training() -> Periphery:
    """7-bit inputs, 9-bit outputs within 20, output noise 0.1, bound management."""
    return Periphery(out_bound=20.0, out_noise=0.1, bound_management=True)


@recipe("periphery", "standard", f"{_AIHWKIT}, StandardIOParameters")
def standard() -> Periphery:
    """8-bit inputs, 8-bit outputs within 10, output noise 0.04, bound management."""
    return Periphery(in_bits=8, out_bits=8, out_bound=10.0, out_noise=0.04, bound_management=True)


@recipe("periphery", "inference", f"{_AIHWKIT}, StandardHWATrainingPreset")
def inference() -> Periphery:
    """8-bit converters, wire loss and the read noise of phase-change memory; inputs must lie within 1."""
    return Periphery(
        in_bits=8, out_bits=8, out_bound=10.0, out_noise=0.04, read_noise=0.0175, ir_drop=1.0, full_scale="none"
    )
