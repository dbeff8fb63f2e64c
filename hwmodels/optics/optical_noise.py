"""The noise of a camera exposed to scattered light, and of a medium that moves, in closed form."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwmodels.numerics.noise_moments import TINY, Noise, NoiseSource, parallel_part, rounding_error, too_coarse
from hwmodels.optics.camera import Camera
from hwmodels.optics.detection import Exposure, Field

ENCODING, SHOT, THERMAL = "encoding of the error", "shot noise", "thermal noise"
CAMERA_ROUNDING, SATURATION, DECORRELATION = "camera rounding", "saturation", "decorrelation"

FORMULAS = {
    SHOT: "sum_k g_k^2 I_k / (kappa_k |y|^2)",
    THERMAL: "sum_k g_k^2 sigma_t^2 / (kappa_k^2 |y|^2)",
    CAMERA_ROUNDING: "sum_k g_k^2 s^2 / (12 kappa_k^2 |y|^2)",
    SATURATION: "a known function of the light",
}
"""NSR^2 of every error of a camera."""

Detect = Callable[[Camera, torch.Generator | None], Tensor]
"""Compute one projection (B, n_out) with the given camera in the place of the real one, and a source of its noise."""


def camera_with_only(camera: Camera, name: str) -> Camera:
    """Return the camera with one source of error alone; a name that is none of the camera's leaves no error."""
    return replace(
        camera,
        shot=camera.shot and name == SHOT,
        thermal=camera.thermal if name == THERMAL else 0.0,
        bits=camera.bits if name == CAMERA_ROUNDING else None,
        saturates=camera.saturates and name == SATURATION,
    )


def encoding_noise(error: Tensor, code: Tensor, std: float, clean: Tensor, coded: Tensor) -> NoiseSource:
    """Return the noise that a coarse encoding Q(e) of the error e adds to the projection e B.

    With Q(e) = k e + r and r orthogonal to e, cos(e B, Q(e) B) = 1/sqrt(1 + |r|^2/|k e|^2).

    Args:
        error: e, (B, n_in).
        code: Q(e), (B, n_in).
        std: standard deviation of the entries of the matrix.
        clean: e B, (B, n_out).
        coded: Q(e) B, (B, n_out), without any other error.
    """
    k, rest = parallel_part(error, code)
    noise = Noise(
        name=ENCODING,
        formula="|Q(e) - k e|^2 / |k e|^2",
        encodes=True,
        signal=clean,
        shift=(k - 1) * clean,
        fresh=rest.square().sum(1, keepdim=True) * std**2,
    )
    return NoiseSource(noise, lambda gen: coded)  # noqa: ARG005 (the code is the same at every draw)


def camera_sources(
    camera: Camera,
    exposures: Callable[[], Iterator[tuple[float, Exposure]]],
    unit: float,
    signal: Tensor,
    detect: Detect,
) -> Iterator[NoiseSource]:
    """Yield every error of the camera in a projection y = unit (sum_k f_k g_k I_k - offset).

    I_k is the intensity that frame k reports, f_k the factor of its image in y, and g_k the weight of the frame in its
    image. A frame of intensity I has N = I kappa electrons, kappa = exposure full_well / mean light; shot noise is N,
    thermal noise thermal^2, rounding s^2/12 electrons^2, and sum_k (unit f_k g_k / kappa)^2 converts them to y. Numbers
    below 0 electrons are cut off (:func:`rectified_moments`). Saturation is a known function of the light.

    Args:
        camera: the camera; errors that it has not, or that are switched off, are left out.
        exposures: yields all frames with the factor f of their image, anew at every call.
        unit: digital factor behind detection.
        signal: (B, n_out), without errors of the camera.
        detect: a pass through a given camera.
    """
    if math.isinf(camera.full_well):
        return
    present = (camera.shot, camera.thermal > 0, camera.bits is not None, camera.saturates)
    for name in (name for name, on in zip(FORMULAS, present, strict=True) if on):
        alone = camera_with_only(camera, name)
        fresh, shift = torch.zeros_like(signal), torch.zeros_like(signal)
        for factor, (light, mean, weight) in exposures():
            kappa = camera.electrons(mean)
            moved, variance = _electron_moments(camera, name, light * kappa)
            # the error of one electron in the unit of y; variances have its square
            to_y = (unit * factor) * weight / kappa
            fresh, shift = fresh.addcmul_(variance, to_y * to_y), shift.addcmul_(moved, to_y)
        noise = Noise(name=name, formula=FORMULAS[name], fresh=fresh, shift=shift, signal=signal)
        if name == CAMERA_ROUNDING:
            # a dark sample has no signal whose rounding could be compared
            lit = signal.square().sum(1) > 0
            noise = replace(noise, outside=too_coarse(signal[lit], detect(alone, None)[lit], fresh[lit]))
        yield NoiseSource(noise, functools.partial(detect, alone))


def _electron_moments(camera: Camera, name: str, n: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of one error of n electrons, in electrons and their square."""
    if name == SATURATION:
        return n.clamp(max=camera.full_well) - n, torch.zeros_like(n)
    if name == CAMERA_ROUNDING:
        return torch.zeros_like(n), rounding_error(n, camera.step)
    return rectified_moments(n, n.sqrt() if name == SHOT else torch.full_like(n, camera.thermal))


def rectified_moments(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return bias and variance of a Gaussian number that is cut off at zero, x = max(0, m + s xi).

    E x = m Phi(m/s) + s phi(m/s) and E x^2 = (m^2 + s^2) Phi(m/s) + m s phi(m/s), with xi standard normal, phi its
    density and Phi its distribution function.

    Args:
        mean: m, any shape and unit.
        std: s, same shape and unit.

    Returns:
        E x - m, and Var x.
    """
    # double precision: both moments are small differences of large numbers
    m, s = mean.double(), std.double()
    ratio = m / s.clamp_min(TINY)
    below = torch.special.ndtr(ratio)
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    first = m * below + s * density
    second = (m.square() + s.square()) * below + m * s * density
    return (first - m).to(mean.dtype), (second - first.square()).clamp_min_(0).to(mean.dtype)


@dataclass(frozen=True)
class OpticalPass:
    """What one optical projection sends and receives, computed for the medium before it decorrelates.

    Fields and intensities are in the units of :mod:`hwmodels.optics.detection`: the mean intensity at the camera is 1
    when half of the modulator is lit.
    """

    images: list[tuple[float, Tensor, Field]]
    """For every image on the modulator: its factor f in the result, its lit pixels x, (B, n_in) of 0 and 1, and the
    light at the camera."""
    unit: float
    """Digital factor by which the detected numbers are multiplied."""
    linear: bool
    """Whether detection measures the real part of the field; otherwise the intensity."""
    light: float
    """Mean intensity of an anchor; 0 without anchors."""


def decorrelation_noise(before: OpticalPass, rho: float, signal: Tensor) -> Noise:
    """Return how a projection changes, as a noise, when the medium's matrix M becomes rho M + sqrt(1 - rho^2) M'.

    M' is an independent matrix of the same distribution; what was calibrated before stays as it was. With f_k the
    factor of image k in the projection, x_k its pixels, E_k = x_k M its field, a^2 = 1 - rho^2, E = sum_k f_k E_k,
    X = sum_k f_k x_k and |x_k|^2 lit pixels of n:

    - a reference beam: y keeps rho of x M, and gets a^2 |X|^2 / n;
    - anchors A, |A|^2 calibrated at first: rho^2 of Re(A* E)/|A|; the new parts of E, of A and of both give
      rho^2 a^2 |X|^2/n + [rho^2 a^2 L |E + c A|^2 / 2 + a^4 L (|X|^2/n + c^2 L/4)] / |A|^2, L the mean intensity of an
      anchor, c = sum_k f_k, which is 0 for a ternary error;
    - intensities: rho^2, and sum_k f_k^2 (a^4 m_k^2 + 2 rho^2 a^2 m_k |E_k|^2), m_k = 2 |x_k|^2/n the mean.

    Args:
        before: the pass before the medium moved.
        rho: correlation of the medium, exp(-t/tau).
        signal: (B, n_out), its result without errors of the camera.
    """
    a2, unit, images = 1 - rho * rho, before.unit, before.images
    if not before.linear:
        shift, fresh = torch.zeros_like(signal), torch.zeros_like(signal)
        for factor, _, field in images:
            shift += factor * (rho * rho - 1) * (field.light - field.mean)
            fresh += factor**2 * (a2 * a2 * field.mean.square() + 2 * rho**2 * a2 * field.mean * field.light)
        formula = "(a^4 m^2 + 2 rho^2 a^2 m |E|^2) / (rho^2 (|E|^2 - m))^2, a^2 = 1 - rho^2"
        return _decorrelated(signal, unit, shift, fresh, formula)
    real = _sum(factor * field.real for factor, _, field in images)
    image = _sum(factor * image for factor, image, _ in images)
    # a new matrix M' gives X M' real and imaginary parts of this variance
    power = image.square().sum(1, keepdim=True) / image.shape[1]
    if not before.light:
        return _decorrelated(signal, unit, (rho - 1) * real, a2 * power.expand_as(real), "(1 - rho^2) / rho^2")
    imag, field = _sum(factor * field.imag for factor, _, field in images), images[0][2]
    c, light = sum(factor for factor, _, _ in images), field.anchor_light
    # the anchors' light is subtracted and divided by as it was calibrated, though the anchors have moved as well
    turned = (real * field.anchor_real + imag * field.anchor_imag) / light.sqrt()
    shift = (rho * rho - 1) * turned + c * ((rho * rho - 1) * light + a2 * before.light) / (2 * light.sqrt())
    both = (real + c * field.anchor_real).square() + (imag + c * field.anchor_imag).square()
    fresh = rho**2 * a2 * power + rho**2 * a2 * before.light * both / (2 * light)
    fresh = fresh + a2 * a2 * before.light * (power + c * c * before.light / 4) / light
    return _decorrelated(signal, unit, shift, fresh, "(1 - rho^4) / rho^4 times a factor of the anchors' light")


def _decorrelated(signal: Tensor, unit: float, shift: Tensor, fresh: Tensor, formula: str) -> Noise:
    return Noise(name=DECORRELATION, formula=formula, signal=signal, shift=unit * shift, fresh=unit**2 * fresh)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)
