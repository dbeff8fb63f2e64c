"""Detection: ways to measure the linear field of scattered light with a camera, which sees intensities.

Fields are complex amplitudes E (B, n_out) at the camera, with E|E|^2 = 1 when half of the modulator's pixels are lit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hwmodels.errors import POSITIVE, check_options, minimum
from hwmodels.optics.camera import Camera
from hwmodels.registry import Registered

REMEDY = "2 is usual for an intensity"


@dataclass(frozen=True)
class Field:
    """Light at the camera for one image on the modulator, and that of the anchor images (:class:`Anchors`).

    Fields are in the unit of the module; the anchors' tensors are empty where detection uses none.
    """

    real: Tensor
    """(B, n_out)."""
    imag: Tensor
    """(B, n_out)."""
    mean: Tensor
    """(B, 1): expected mean intensity, from the number of lit pixels."""
    anchor_real: Tensor
    """(n_out,): field of the anchor chosen for every camera pixel."""
    anchor_imag: Tensor
    """(n_out,)."""
    anchor_light: Tensor
    """(n_out,): its intensity, as it was calibrated."""

    @property
    def light(self) -> Tensor:
        """Intensity |E|^2, (B, n_out)."""
        return self.real.square().addcmul(self.imag, self.imag)


class Exposure(NamedTuple):
    """The light of one camera frame, and the weight of the frame in the sum that gives the result."""

    light: Tensor
    """(B, n_out), intensities."""
    mean: Tensor
    """(B, 1), expected mean intensity."""
    weight: float | Tensor
    """One for all pixels, or (n_out,), one for each."""


@dataclass(frozen=True, kw_only=True)
class Detection(Registered, ABC, kind="detection"):
    """A way to measure scattered light with a camera."""

    linear: ClassVar[bool] = True
    """Whether it measures the real part of the field; otherwise its intensity."""

    @property
    def anchors(self) -> int:
        """Number of anchor images that the modulator can add to every image; default: none."""
        return 0

    @property
    def anchor_light(self) -> float:
        """Mean intensity of an anchor image at the camera; default: 0."""
        return 0.0

    @property
    def frames(self) -> int:
        """Number of camera frames that are taken of one image; default: 1."""
        return 1

    @abstractmethod
    def exposures(self, field: Field) -> Iterator[Exposure]:
        """Yield the frames of one image that are used, each with its weight."""

    def offset(self, field: Field) -> Tensor:
        """Return what is subtracted from the sum of the frames, broadcasts to (B, n_out); default: zero."""
        return torch.zeros_like(field.mean)

    def detect(self, field: Field, camera: Camera, gen: torch.Generator | None) -> Tensor:
        """Combine the frames of one image, sum_k weight_k I_k - offset.

        Args:
            field: light at the camera for the image.
            camera: exposed once for every frame.
            gen: source of its noise.

        Returns:
            (B, n_out), in the unit of the field, or of its square where the detection is not linear.
        """
        total = torch.zeros_like(field.real)
        for light, mean, weight in self.exposures(field):
            frame = camera.expose(light, mean, gen)
            total = total.addcmul_(frame, weight) if isinstance(weight, Tensor) else total.add_(frame, alpha=weight)
        return total.sub_(self.offset(field))


@dataclass(frozen=True, kw_only=True)
class Intensity(Detection, name="intensity"):
    """The bare camera, |E|^2 less its expected mean: a nonlinear projection, one frame."""

    linear = False
    source = "Saade et al. 2016, arXiv 1510.06664 (random features in a scattering medium)"

    def exposures(self, field: Field) -> Iterator[Exposure]:
        yield Exposure(field.light, field.mean, 1.0)

    def offset(self, field: Field) -> Tensor:
        return field.mean


def interferograms(field: Field, reference: float, steps: int) -> Iterator[Exposure]:
    """Yield the interference with a reference beam at evenly spaced phases.

    I_k = |E + r e^(i phi_k)|^2, phi_k = 2 pi k / steps; Re E = sum_k cos(phi_k) I_k / (r steps).

    Args:
        field: light at the camera for the image.
        reference: r^2, intensity of the reference beam.
        steps: number of phases, 3 or more.
    """
    r = math.sqrt(reference)
    light, mean = field.light + reference, field.mean + reference
    for k in range(steps):
        phase = 2 * math.pi * k / steps
        c, s = math.cos(phase), math.sin(phase)
        if abs(c) > 1e-9:  # the other phases only serve the imaginary part
            # |E|^2 + r^2 + 2 r Re(E e^(-i phi)), which rounding may take below zero
            frame = light.add(field.real, alpha=2 * r * c).add_(field.imag, alpha=2 * r * s).clamp_min_(0)
            yield Exposure(frame, mean, c / (r * steps))


@dataclass(frozen=True, kw_only=True)
class Holography(Detection, name="holography"):
    """Off-axis holography: a tilted reference beam, whose phase turns once over four neighbouring pixels; one frame.

    Args:
        reference: intensity of the reference beam; the signal has 1 when half of the modulator is lit.
    """

    source = "Launay et al. 2020, arXiv 2006.01475 (off-axis holography); formula: four-bucket interferometry"

    reference: float = 2.0

    def __post_init__(self) -> None:
        check_options(self, POSITIVE, "reference", remedy=REMEDY)

    def exposures(self, field: Field) -> Iterator[Exposure]:
        return interferograms(field, self.reference, 4)


@dataclass(frozen=True, kw_only=True)
class PhaseShifting(Detection, name="phase_shifting"):
    """Phase-shifting holography: one frame for every phase of the reference beam.

    Args:
        reference: intensity of the reference beam; the signal has 1 when half of the modulator is lit.
        steps: phases, 3 or more.
    """

    source = "Creath 1988, Prog. Opt. 26, 349 (n-bucket interferometry)"

    reference: float = 2.0
    steps: int = 3

    def __post_init__(self) -> None:
        check_options(self, POSITIVE, "reference", remedy=REMEDY)
        check_options(self, minimum(3), "steps", remedy="3 is the default")

    @property
    def frames(self) -> int:
        return self.steps

    def exposures(self, field: Field) -> Iterator[Exposure]:
        return interferograms(field, self.reference, self.steps)


@dataclass(frozen=True, kw_only=True)
class Anchors(Detection, name="anchors"):
    """No reference beam: anchor images a of further modulator pixels are lit together with the image x.

    |M(x + a)|^2 - |Mx|^2 - |Ma|^2 = 2 Re(conj(Ma) Mx), divided by 2 |Ma|: one frame for x, one for each anchor; |Ma|^2
    is calibrated once. Every camera pixel uses the anchor that is brightest there, since weak ones amplify noise.

    Args:
        count: anchors, 1 or more.
        light: mean intensity of an anchor; the signal has 1 when half of the modulator is lit.
    """

    source = "Ohana et al. 2023, Opt. Express 31, 25881, arXiv 2305.12988 (linear projection without holography)"

    count: int = 2
    light: float = 2.0

    def __post_init__(self) -> None:
        check_options(self, POSITIVE, "light", remedy=REMEDY)
        check_options(self, minimum(1), "count", remedy="2 is the default")

    @property
    def anchors(self) -> int:
        return self.count

    @property
    def anchor_light(self) -> float:
        return self.light

    @property
    def frames(self) -> int:
        return 1 + self.count

    def exposures(self, field: Field) -> Iterator[Exposure]:
        together = (field.real + field.anchor_real).square_().add_((field.imag + field.anchor_imag).square_())
        # 1 / (2 |Ma|): the offset takes the calibrated |Ma|^2 away
        weight = field.anchor_light.rsqrt() / 2
        yield Exposure(together, field.mean + self.light, weight)
        yield Exposure(field.light, field.mean, -weight)

    def offset(self, field: Field) -> Tensor:
        return field.anchor_light.sqrt() / 2
