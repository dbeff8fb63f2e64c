"""A camera: light becomes electrons, and electrons become whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NOT_NEGATIVE, POSITIVE, Condition, NeurofaError, check_options
from hwmodels.numerics.random import normal
from hwmodels.registry import Registered, recipe


@dataclass(frozen=True, kw_only=True)
class Camera(Registered, kind="camera", name="camera"):
    """Photon shot noise, thermal noise, saturation and quantisation of every pixel.

    An intensity I becomes N = I exposure full_well / mean electrons, where ``mean`` is the mean light of the frame,
    which is known from the number of lit pixels: many of them shorten the exposure. Then N + sqrt(N + thermal^2) xi
    is clipped to [0, full_well] and rounded to bits. Shot noise is Gaussian, an approximation that holds above some 20
    electrons; below, thermal noise is larger.

    Args:
        bits: width of an output number, 2 to 24; None does not round.
        exposure: mean signal in units of the full well, > 0; speckle saturates in exp(-1/exposure) of the pixels.
        full_well: electrons that a pixel holds; 1e999 is a camera without noise, saturation and rounding.
        thermal: standard deviation of the thermal and read noise, electrons.
        shot: whether light comes in photons; False leaves out shot noise, to study the other errors.
        saturates: whether a pixel holds no more than the full well; False leaves out saturation.
    """

    source = "standard sensor model (EMVA 1288): shot noise, dark noise, full well; values of a common CMOS sensor"

    bits: int | None = 8
    exposure: float = 0.2
    full_well: float = 10_000.0
    thermal: float = 10.0
    shot: bool = True
    saturates: bool = True

    def __post_init__(self) -> None:
        check_options(self, NOT_NEGATIVE, "thermal", remedy="change thermal")
        check_options(self, POSITIVE, "exposure", remedy="0.2 is the default")
        capacity = Condition(lambda v: v > 0, "a positive number")
        check_options(self, capacity, "full_well", remedy="10000 is usual")
        if self.bits is not None and (not 2 <= self.bits <= 24 or math.isinf(self.full_well)):
            raise NeurofaError(
                f"got camera(bits={self.bits}, full_well={self.full_well}); expected 2 to 24 bits of a finite"
                " full well; set bits=None for an ideal camera"
            )

    def expose(self, light: Tensor, mean: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Return what the camera reports of one frame, with noise, saturation and rounding.

        Args:
            light: intensities, (B, n), any unit, 0 or more.
            mean: (B, 1), expected mean of the frame's light in that unit; dark frames may have 0.
            gen: source of the noise, on the light's device.

        Returns:
            The intensities that the camera reports, same shape and unit.
        """
        if math.isinf(self.full_well):
            return light
        electrons = self.electrons(mean)
        n = light * electrons
        if self.shot or self.thermal:
            # both noises are Gaussian and independent: one draw serves their sum
            variance = (n + self.thermal**2) if self.shot else torch.full_like(n, self.thermal**2)
            n = n.addcmul(normal(n, gen), variance.sqrt_())
        n = n.clamp_(0, self.full_well if self.saturates else None)
        if self.bits is not None:
            n = n.div_(self.step).round_().mul_(self.step)
        return n / electrons

    def electrons(self, mean: Tensor) -> Tensor:
        """Return how many electrons a unit of intensity gives in frames of this mean light, shaped as ``mean``."""
        return self.exposure * self.full_well / torch.where(mean > 0, mean, torch.ones_like(mean))

    @property
    def step(self) -> float:
        """Distance of two levels of the output, electrons; 0 where nothing is rounded."""
        return 0.0 if self.bits is None else self.full_well / (2**self.bits - 1)


@recipe("camera", "ideal", "intensity itself")
def ideal() -> Camera:
    """No noise, no saturation, no rounding."""
    return Camera(bits=None, full_well=math.inf, thermal=0.0)
