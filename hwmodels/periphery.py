"""What stands around an analog array: converters, full scales, output noise, wire resistance, bit-sliced inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hwmodels.converters import ADC, DAC, at_least_zero, bit_planes, check_scale, doublings, largest
from hwmodels.draws import normal
from hwmodels.errors import NeurofaError
from hwmodels.quantize import work_dtype
from hwmodels.registry import Registered, kind_of_parts, recipe

kind_of_parts("periphery", "hwmodels.periphery")

TINY = 1e-30
"""What inputs or weights that are all zero are divided by; a code per 1e-30 is still a float32."""

_AIHWKIT = "aihwkit 1.1, input and output parameters (Rasch et al. 2021, arXiv 2104.02184)"


@dataclass(frozen=True, kw_only=True)
class Periphery(Registered, kind="periphery", name="periphery"):
    """One analog product with all that stands around it: y = alpha ADC(W DAC(x / alpha) + noise).

    In order: scale by alpha, quantise and clip the input, input noise, product, loss along the wires, output noise,
    quantise and clip the output, scale back. Weights are in units of the largest weight, inputs in units of alpha.

    Args:
        in_bits: of the DAC; None is exact.
        in_noise: standard deviation of the input noise, in units of the full-scale input.
        out_bits: of the ADC; None is exact (it still clips).
        out_bound: full scale of the ADC, in units of (full-scale input x largest weight); 1e999 never clips.
        out_noise: standard deviation of the output noise, in the same unit.
        read_noise: sigma_w of the weights as it shows at the output, y_i += sigma_w sqrt(sum_j |w_ij| x_j^2) xi
            (phase-change memory, whose noise goes with the root of the conductance).
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

    def __post_init__(self) -> None:
        check_scale("periphery", self.full_scale)
        at_least_zero("periphery", read_noise=self.read_noise, ir_drop=self.ir_drop)
        if not 0 < self.wire_ratio < math.inf:
            raise NeurofaError(f"got periphery(wire_ratio={self.wire_ratio}); expected a positive number; change it")
        if math.isinf(self.out_bound) and (self.out_bits is not None or self.bound_management):
            raise NeurofaError("got an ADC with bits but no bound; expected a bound; set out_bound or out_bits=None")
        if self.sliced and self.in_bits is None:
            raise NeurofaError("got sliced=True without in_bits; expected 2 to 24 bits; set in_bits")
        if self.sliced and self.bound_management:
            raise NeurofaError(
                "got sliced=True with bound_management=True; expected one of them, a bit cannot be halved; drop one"
            )
        largest = torch.finfo(torch.float32).max if math.isinf(self.out_bound) else self.out_bound
        object.__setattr__(self, "_dac", DAC(bits=self.in_bits, noise=self.in_noise))
        object.__setattr__(self, "_adc", ADC(bits=self.out_bits, bound=largest, noise=self.out_noise))

    @property
    def dac(self) -> DAC:
        """The input converter."""
        found: DAC = self.__dict__["_dac"]
        return found

    @property
    def adc(self) -> ADC:
        """The output converter."""
        found: ADC = self.__dict__["_adc"]
        return found

    @property
    def most_doublings(self) -> int:
        """Bound management stops at a factor of 1000, or where the inputs keep less than 2 bits."""
        inputs = 1000.0 if self.in_bits is None else 0.25 * (2**self.in_bits - 2)
        return max(0, int(math.log2(min(1000.0, inputs))))

    @property
    def exact(self) -> bool:
        """Whether a product is the matrix product: nothing is quantised, clipped, lost or noisy."""
        clips = self.full_scale == "none" or not math.isinf(self.out_bound)
        return not (clips or self.in_bits or self.out_bits or self.noisy or self.ir_drop)

    @property
    def lossy(self) -> bool:
        """Whether wires or cells act on a product by themselves."""
        return bool(self.ir_drop or self.read_noise)

    @property
    def noisy(self) -> bool:
        """Whether a product needs a generator."""
        return bool(self.in_noise or self.out_noise or self.read_noise)

    def product(
        self, x: Tensor, w: Tensor, gen: torch.Generator | None = None, *, unit: Tensor | None = None
    ) -> Tensor:
        """One matrix product through the array; exactly 0 for a sample whose inputs are all zero.

        Args:
            x: (B, n_in), any unit.
            w: (n_in, n_out), as this pass reads them, in units of the largest weight, or in any unit with ``unit``.
            gen: source of all noise, on x's device.
            unit: the largest weight, 0-dim, as ``w`` has it; None: 1.

        Returns:
            (B, n_out), in the unit of ``x`` times that of ``w``.
        """
        dtype = x.dtype
        if dtype.itemsize < 4:  # too few digits for codes
            x, w = x.to(work_dtype(dtype)), w.to(work_dtype(dtype))
        top = x.new_ones(()) if unit is None else unit.to(x.dtype).clamp_min(TINY)
        back = top / self.adc.rate
        if self.sliced or self.lossy:
            w, top = w / top, x.new_ones(())
        codes, alpha = self._sliced(x, w, gen) if self.sliced else self._whole(x, w, top, gen)
        return codes.mul_(alpha * back).to(dtype)

    def _whole(self, x: Tensor, w: Tensor, top: Tensor, gen: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """All bits of an input at once: codes of the ADC (B, n_out), and the full scale of each sample."""
        dac, v = self.dac, x.abs()
        alpha = largest(v, self.full_scale)
        rate = self.adc.rate / dac.rate / top  # of a product of codes and weights, in codes of the ADC
        self._encode(x, alpha, out=v)
        # no sum of n_in products of numbers up to 1 reaches a bound above n_in
        if self.bound_management and len(w) >= self.adc.bound:
            bound = self.adc.bound * self.adc.rate / rate
            alpha = alpha * doublings(torch.mm(v, w), bound, self.most_doublings)
            self._encode(x, alpha, out=v)
        if self.in_noise:
            v = v.add_(normal(v, gen), alpha=self.in_noise * dac.rate)
        y = torch.mm(v, w).mul_(rate)
        return self._convert(y, v.div_(dac.rate) if self.lossy else v, w, gen), alpha

    def _encode(self, x: Tensor, alpha: Tensor, out: Tensor) -> None:
        """Codes of the DAC for inputs in units of ``alpha``."""
        # not by a reciprocal: the largest input has to become 1 exactly, and 1/2 where it is halved
        q = torch.div(x, alpha.clamp_min(TINY), out=out).mul_(self.dac.rate)
        self.dac.codes(q, clip=self.full_scale == "none", out=q)

    def _sliced(self, x: Tensor, w: Tensor, gen: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """One bit of an input after the other; returns as :meth:`_whole`."""
        alpha = largest(x.abs(), self.full_scale)
        planes, factors = bit_planes(self.dac.level(x / alpha.clamp_min(TINY)), self.dac)
        v = planes.flatten(0, 1)
        v = v.add_(normal(v, gen), alpha=self.in_noise) if self.in_noise else v
        codes = self._convert((v @ w).mul_(self.adc.rate), v, w, gen)
        return codes.view(len(planes), len(x), w.shape[1]).mul_(factors).sum(0), alpha

    def _convert(self, y: Tensor, v: Tensor, w: Tensor, gen: torch.Generator | None) -> Tensor:
        """What the wires, the cells and the output converter make of products.

        Args:
            y: (B, n_out) in codes of the ADC; overwritten.
            v: (B, n_in) inputs in units of the full scale, where wires or cells count.
            w: (n_in, n_out) in units of the largest weight, where wires or cells count.
            gen: source of the noise.
        """
        adc = self.adc
        if self.ir_drop:
            y = y.sub_(wire_loss(v, w, self.wire_ratio), alpha=self.ir_drop * adc.rate)
        if self.read_noise:
            y = y.addcmul_(normal(y, gen), (v.square() @ w.abs()).sqrt_(), value=self.read_noise * adc.rate)
        if adc.noise:
            y = y.add_(normal(y, gen), alpha=adc.noise * adc.rate)
        return adc.codes(y, out=y)


def wire_loss(v: Tensor, w: Tensor, ratio: float) -> Tensor:
    """What a product loses to the resistance of the wires, in closed form.

    a_i = (n / gamma) sum_j |w_ij| |v_j|, c_i = a_i (0.05 a_i^2 - 0.2 a_i + 0.5),
    loss_i = c_i sum_j w_ij v_j (1 - (1 - j/n)^2), j = 0 ... n-1.

    Args:
        v: (B, n), inputs, full scale 1.
        w: (n, n_out), in units of the largest weight.
        ratio: gamma, wire over cell conductance.

    Returns:
        (B, n_out), to be taken from the ideal product.

    Source: Rasch et al. 2019, arXiv 1906.02698 (approximation of the voltage drop), as coded in aihwkit.
    """
    n = len(w)
    a = (v.abs() @ w.abs()).mul_(n / ratio)
    c = a * (0.05 * a.square() - 0.2 * a + 0.5)
    place = 1 - (1 - torch.arange(n, device=w.device, dtype=w.dtype) / n).square()
    return c * ((v * place) @ w)


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
    """8-bit converters, wire loss and the read noise of phase-change memory; inputs have to lie within 1."""
    return Periphery(
        in_bits=8, out_bits=8, out_bound=10.0, out_noise=0.04, read_noise=0.0175, ir_drop=1.0, full_scale="none"
    )
