"""A photonic weight bank of microring resonators."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from hwmodels.arrays.converters import SCALE, full_scale
from hwmodels.description import TensorDescription
from hwmodels.errors import FINITE, NOT_NEGATIVE, POSITIVE_OR_NONE, check_options
from hwmodels.figures import BANK_COLUMNS, BANK_ENERGY, BANK_ROWS, BANK_TIME, CostLine, CostReport
from hwmodels.numerics.noise_moments import Noise, NoiseSource
from hwmodels.numerics.random import normal
from hwmodels.projection import Programmable


class Microring(Programmable, name="microring"):
    """A bank of add-drop rings, one for each weight, with balanced detection: s = e B + max|e| N(mu, sigma).

    B is normalised to [-1, 1]; mu and sigma belong to one whole inner product, in units of the full-scale input.
    Ring k of a bank is detuned from its channel by delta_k (in units of the linewidth, full width at half maximum), so
    that it drops T_k = 1 / (1 + (2 delta_k)^2) of its channel; w = drop - through = 2 T_k - 1. With a finite channel
    spacing D every ring also drops the tail T_jk = 1 / (1 + (2 (D (j - k) - delta_k))^2) of channel j, and
    w_j = 1 - 2 prod_k (1 - T_jk). Heaters warm their neighbours: delta_k + heat (delta_(k-1) + delta_(k+1)). Both are
    static errors: they replace B by another matrix.

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 n_in).
        sigma: of the noise of one inner product; 0.098 with an off-chip detector (4.35 bit), 0.202 with an on-chip one
            (3.31 bit), remembered figures of the source.
        mu: mean of that noise, a bias.
        full_scale: the error is encoded relative to max|e| of each ``sample``, or of the ``batch`` as in the authors'
            code (small errors are then lost in the noise), or ``none``: the errors lie in [-1, 1].
        spacing: D, distance of two channels in linewidths; None leaves out crosstalk.
        heat: share of a ring's detuning that reaches its neighbours.
    """

    source = "Filipovich et al. 2022, Optica 9, 1323, arXiv 2111.06862; Lorentzian drop port of an add-drop ring"

    tensors: ClassVar = {
        "b": TensorDescription(meaning="weight of every ring, drop less through port, in -1 to 1, (n_errors, m)"),
        "scale": TensorDescription(meaning="digital factor behind the bank"),
    }

    b: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        gain: float = 1.0,
        sigma: float = 0.098,
        mu: float = 0.0,
        full_scale: Literal["sample", "batch", "none"] = "sample",
        spacing: float | None = None,
        heat: float = 0.0,
    ) -> None:
        super().__init__(gain=gain)
        self.sigma, self.mu, self.full_scale, self.spacing, self.heat = sigma, mu, full_scale, spacing, heat
        check_options(self, NOT_NEGATIVE, "sigma", "heat", remedy="change it")
        check_options(self, SCALE, "full_scale", remedy="choose one")
        check_options(self, FINITE, "mu", remedy="0 is the default")
        check_options(self, POSITIVE_OR_NONE, "spacing", remedy="change spacing")

    @property
    def bits(self) -> float:
        """Effective resolution log2(2 / sigma), bit, of outputs in [-1, 1]."""
        return math.inf if not self.sigma else math.log2(2 / self.sigma)

    @property
    def resolution(self) -> float:
        return self.bits

    @property
    def exact(self) -> bool:
        return not (self.sigma or self.mu)

    def settings(self) -> dict[str, tuple[Tensor, TensorDescription]]:
        """Return the buffers, and the detuning of every ring that gives its weight."""
        meaning = "detuning of every ring from its channel that gives its weight, full widths at half maximum"
        offset = TensorDescription(meaning=meaning, unit="linewidth", axes="(n_errors, m)")
        return super().settings() | {"ring_offset": (detuning(self.b), offset)}

    def pass_costs(self, vectors: int) -> CostReport:
        tiles = math.ceil(self.n_in / BANK_ROWS) * math.ceil(self.n_out / BANK_COLUMNS)
        products, operations = vectors * tiles, 2 * vectors * self.n_in * self.n_out
        formula = f"samples × {tiles} banks of {BANK_ROWS} × {BANK_COLUMNS}"
        lines = (
            CostLine.counted("products with a bank", products, formula),
            CostLine.scaled("time of the bank", products, BANK_TIME, "products with a bank / 10 GHz"),
            CostLine.scaled("energy", operations, BANK_ENERGY, "2 operations a product"),
        )
        gap = "converters and memory around the bank, where the published total leaves them out"
        return self.programming + CostReport(lines, (gap,))

    def _program(self, target: Tensor, gen: torch.Generator | None) -> None:
        size = target.abs().amax()
        size = torch.where(size > 0, size, torch.ones_like(size))
        w = target / size
        if self.spacing is not None or self.heat:
            w = bank_weights(detuning(w), self.spacing, self.heat)
        self.set_buffer("b", w)
        self.set_buffer("scale", size)

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        y = error @ self.b
        if self.sigma or self.mu:
            # the bank works on errors in units of their full scale, and its noise is in that unit
            alpha = full_scale(error, self.full_scale)
            noise = normal(y, gen).mul_(self.sigma).add_(self.mu) if self.sigma else torch.full_like(y, self.mu)
            y = y.addcmul(noise, alpha)
        return y * self.scale

    def dynamics(self, error: Tensor) -> tuple[NoiseSource, ...]:
        """Return the noise of the inner products."""
        if not (self.sigma or self.mu):
            return ()
        alpha = full_scale(error, self.full_scale) * self.scale
        signal = self.clean(error)
        noise = Noise(
            name="noise of an inner product",
            formula="m (sigma^2 + mu^2) max|e|^2 / |e b|^2",
            signal=signal,
            fresh=(self.sigma * alpha).square(),
            shift=(self.mu * alpha).expand_as(signal) if self.mu else None,
        )
        return (NoiseSource(noise, lambda gen: self(error, gen)),)

    def statics(self) -> dict[str, Programmable]:
        twins = {}
        if self.spacing is not None:
            twins["crosstalk between channels"] = self.twin(heat=0.0)
        if self.heat:
            twins["heat of the neighbours"] = self.twin(spacing=None)
        return twins

    def effective(self) -> Tensor:
        """Return B with crosstalk; the bias mu is no part of a linear map."""
        return self.b * self.scale


def detuning(w: Tensor) -> Tensor:
    """Return the detuning of a weight without crosstalk: delta = sqrt(1/T - 1) / 2, T = (1 + w) / 2, in linewidths.

    Args:
        w: weights in [-1, 1]; -1 needs an infinite detuning and gets one of 500 linewidths.
    """
    # a ring drops T of its channel and passes 1 - T: w = 2 T - 1
    t = ((1 + w) / 2).clamp(1e-6, 1)
    return (1 / t - 1).sqrt_() / 2


def bank_weights(delta: Tensor, spacing: float | None, heat: float) -> Tensor:
    """Return the weights that detuned rings give every channel, with the tails of their neighbours.

    Args:
        delta: (n_in, n_out), detuning of each ring in linewidths; a bank is one column.
        spacing: distance of two channels in linewidths; None: no tails.
        heat: share of the detuning of its neighbours that a ring gets.

    Returns:
        (n_in, n_out), in [-1, 1].
    """
    if heat:
        warm = torch.zeros_like(delta)
        warm[1:] += delta[:-1]
        warm[:-1] += delta[1:]
        delta = delta + heat * warm
    if spacing is None:
        return 2 / (1 + (2 * delta).square()) - 1
    channels = torch.arange(len(delta), dtype=delta.dtype, device=delta.device).view(-1, 1) * spacing
    through = torch.ones_like(delta)
    for k, own in enumerate(delta):
        # the tails of ring k in all channels, its own included
        away = 2 * (channels - k * spacing - own)
        through *= 1 - 1 / (1 + away.square())
    return 1 - 2 * through
