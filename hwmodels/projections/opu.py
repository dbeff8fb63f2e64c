"""An optical processing unit: random scattering of light between a binary modulator and a camera."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.description import TensorDescription
from hwmodels.errors import POSITIVE, POSITIVE_OR_NONE, NeurofaError, check_options
from hwmodels.figures import OPU_POWER, CostLine, CostReport
from hwmodels.format import Format
from hwmodels.numerics.noise_moments import Noise, NoiseSource
from hwmodels.numerics.random import normal
from hwmodels.optics.camera import Camera, ideal
from hwmodels.optics.detection import Detection, Exposure, Field
from hwmodels.optics.optical_noise import OpticalPass, camera_sources, decorrelation_noise, encoding_noise
from hwmodels.projection import AgeingMatrix, Projection
from hwmodels.registry import build

FRAME_RATE = 1900.0
"""Frames in a second, Hz: remembered; any other rate was given by the user."""


class OPU(Projection, AgeingMatrix, name="opu"):
    """Random scattering of light: y = Re(x M) or |x M|^2 of a binary image x, M complex Gaussian, seen by a camera.

    ``error`` turns the error into images: ``ternary`` lights one image for +1 and one for -1, whose results are
    subtracted; ``sign`` lights one image x = (1 + sign e)/2, and y = 2 (x M) - 1 M, where 1 M is calibrated once
    (intensities are not linear: there y is that of the one image). Re M and Im M have variance 1/n_in; a digital factor
    gain/sqrt(3) gives the declared standard deviation. With ``decorrelation`` tau the medium moves while frames are
    taken: M follows an Ornstein-Uhlenbeck process, M(t + dt) = rho M(t) + sqrt(1 - rho^2) M', rho = exp(-dt/tau).

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 n_in).
        error: encoding of the error, ``ternary`` or ``sign`` with their options.
        detection: ``holography``, ``phase_shifting``, ``anchors`` or ``intensity``.
        camera: ``camera(...)`` or ``ideal``.
        decorrelation: tau, s; None: the medium stands still.
        frame_rate: camera frames in a second, Hz.
    """

    source = "Launay et al. 2020, arXiv 2006.01475; lightonml simulated device (variance of M); frame rate: remembered"

    tensors: ClassVar = {
        "m_real": TensorDescription(
            meaning="transmission matrix of the medium, real part, (inputs and anchors, camera pixels)"
        ),
        "m_imag": TensorDescription(meaning="transmission matrix of the medium, imaginary part"),
    }

    m_real: Tensor
    m_imag: Tensor
    anchor: Tensor
    anchor_light: Tensor
    ones_response: Tensor

    def __init__(
        self,
        *,
        gain: float = 1.0,
        error: Format | str = "ternary",
        detection: Detection | str = "holography",
        camera: Camera | str = "camera",
        decorrelation: float | None = None,
        frame_rate: float = FRAME_RATE,
    ) -> None:
        super().__init__(gain=gain)
        self.encoder: Format = build("format", error)
        self.detection: Detection = build("detection", detection)
        self.camera: Camera = build("camera", camera)
        if self.encoder.name not in ("ternary", "sign"):
            raise NeurofaError(
                f"got opu(error={self.encoder.name}); expected ternary or sign, the modulator is binary; choose one"
            )
        self.decorrelation, self.frame_rate = decorrelation, frame_rate
        check_options(self, POSITIVE_OR_NONE, "decorrelation", remedy="change decorrelation")
        check_options(self, POSITIVE, "frame_rate", remedy="change frame_rate")

    @property
    def input_format(self) -> Format:
        return self.encoder

    @property
    def resolution(self) -> float:
        """Bits of the camera."""
        return self.camera.bits or math.inf

    def pass_costs(self, vectors: int) -> CostReport:
        seconds, frames, rate = self.latency(vectors), self.frames, self.frame_rate
        sure = "remembered" if rate == FRAME_RATE else "given"
        time = CostLine.counted("time of the frames", seconds, f"samples × {frames} frames / {rate:g} Hz", sure)
        lines = (
            CostLine.counted("camera frames", vectors * frames, f"samples × {frames}"),
            replace(time, unit="s", source="opu(frame_rate=...), 1900 Hz by default"),
            CostLine.scaled("energy, at most", seconds, OPU_POWER, "power × time of the frames", "J"),
        )
        return CostReport(lines, ("shares of light source, modulator, camera and host in the power",))

    @property
    def frames(self) -> int:
        """Camera frames for one error vector."""
        return self.detection.frames * (2 if self.encoder.name == "ternary" else 1)

    def latency(self, vectors: int) -> float:
        """Return the time to project that many error vectors, s."""
        return vectors * self.frames / self.frame_rate

    def _open(self, gen: torch.Generator) -> None:
        # anchors are further pixels of the modulator, behind those of the image
        rows = self.n_in + self.detection.anchors
        for part in ("m_real", "m_imag"):
            m = torch.randn(rows, self.n_out, generator=gen)
            self.register_buffer(part, m.mul_(self._spread.view(-1, 1)))
        n = self.n_in
        light = self.m_real[n:].square() + self.m_imag[n:].square()
        if self.detection.anchors:
            brightest = light.argmax(0, keepdim=True)
            self.register_buffer("anchor", brightest)
            self.register_buffer("anchor_light", light.gather(0, brightest)[0])
        if self.encoder.name == "sign" and self.detection.linear:
            self.register_buffer("ones_response", self._field_map().sum(0))

    @property
    def _spread(self) -> Tensor:
        """Standard deviation of the real and the imaginary part of every row of M."""
        image = torch.full((self.n_in,), 1 / math.sqrt(self.n_in))
        return torch.cat([image, torch.full((self.detection.anchors,), math.sqrt(self.detection.anchor_light / 2))])

    def _anchor_field(self) -> tuple[Tensor, Tensor]:
        """Return real and imaginary part of the anchor of every camera pixel, (n_out,) each; empty without anchors."""
        if not self.detection.anchors:
            return self.m_real.new_empty(0), self.m_real.new_empty(0)
        n = self.n_in
        return self.m_real[n:].gather(0, self.anchor)[0], self.m_imag[n:].gather(0, self.anchor)[0]

    def _field_map(self) -> Tensor:
        """Return the linear map that detection measures, (n_in, n_out), before the gain."""
        real, imag = self.m_real[: self.n_in], self.m_imag[: self.n_in]
        if not self.detection.anchors:
            return real
        a_real, a_imag = self._anchor_field()
        return (real * a_real + imag * a_imag) / torch.hypot(a_real, a_imag)

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        y = self._detected(self.encoder.quantize(error, gen), self.camera, gen)
        # the medium moves while frames are taken: the next batch meets another one
        if self.decorrelation is not None:
            self.relax(self.latency(len(error)), gen)
        return y

    def _detected(self, code: Tensor, camera: Camera, gen: torch.Generator | None) -> Tensor:
        """Pass an encoded error through the medium as it is now, and detect it with a camera."""
        y = torch.zeros(len(code), self.n_out, dtype=code.dtype, device=code.device)
        for factor, image in self._images(code):
            y.add_(self.detection.detect(self._field(image), camera, gen), alpha=factor)
        if self.encoder.name == "sign" and self.detection.linear:
            y.sub_(self.ones_response)
        return y.mul_(self.gain / math.sqrt(3))

    def _images(self, code: Tensor) -> Iterator[tuple[float, Tensor]]:
        """Yield the binary images of a batch, (B, n_in), each with its factor in the result."""
        # a modulator is dark or lit: positive codes light the first image, negative ones the second
        yield 2.0 if self.encoder.name == "sign" and self.detection.linear else 1.0, code.clamp_min(0).ceil()
        if self.encoder.name == "ternary":
            yield -1.0, (-code).clamp_min_(0).ceil_()

    def _field(self, image: Tensor) -> Field:
        """Return the light at the camera for one binary image per sample, (B, n_in)."""
        n = self.n_in
        a_real, a_imag = self._anchor_field()
        light = self.anchor_light if self.detection.anchors else a_real
        # the real and the imaginary part of an entry of M have the variance 1/n each
        mean = image.sum(1, keepdim=True) * (2 / n)
        return Field(image @ self.m_real[:n], image @ self.m_imag[:n], mean, a_real, a_imag, light)

    def dynamics(self, error: Tensor) -> tuple[NoiseSource, ...]:
        """Return the encoding of the error (where the pass is linear in it), and every error of the camera."""
        code = self.encoder.quantize(error)
        signal, b = self._detected(code, ideal(), None), self.effective()
        encoding = [] if b is None else [encoding_noise(error, code, self.std, error @ b, signal)]

        def exposures() -> Iterator[tuple[float, Exposure]]:
            for factor, image in self._images(code):
                for exposure in self.detection.exposures(self._field(image)):
                    yield factor, exposure

        def detect(camera: Camera, gen: torch.Generator | None) -> Tensor:
            return self._detected(code, camera, gen)

        unit = self.gain / math.sqrt(3)
        return (*encoding, *camera_sources(self.camera, exposures, unit, signal, detect))

    def clean(self, error: Tensor) -> Tensor:
        """Return the pass of the encoded error through an ideal camera."""
        return self._detected(self.encoder.quantize(error), ideal(), None)

    @property
    def ageing(self) -> AgeingMatrix | None:
        return None if self.decorrelation is None else self

    def drifted(self, error: Tensor, seconds: float) -> Noise | None:
        """Predict the pass after the scattering medium has changed for ``seconds``; None where it never changes."""
        if self.decorrelation is None:
            return None
        code = self.encoder.quantize(error)
        images = [(factor, image, self._field(image)) for factor, image in self._images(code)]
        before = OpticalPass(images, self.gain / math.sqrt(3), self.detection.linear, self.detection.anchor_light)
        return decorrelation_noise(before, math.exp(-seconds / self.decorrelation), self.clean(error))

    def effective(self) -> Tensor | None:
        """Return Re M (turned by the phase of the anchors) times the gain; None for intensities."""
        return self._field_map() * (self.gain / math.sqrt(3)) if self.detection.linear else None

    @torch.no_grad()
    def relax(self, seconds: float, gen: torch.Generator | None = None) -> None:
        """Let the medium decorrelate; calibrations stay as they were."""
        if self.decorrelation is None or not seconds:
            return
        rho = math.exp(-seconds / self.decorrelation)
        fresh = self._spread.to(self.m_real).view(-1, 1) * math.sqrt(1 - rho * rho)
        for m in (self.m_real, self.m_imag):
            m.mul_(rho).addcmul_(normal(m, gen), fresh)
