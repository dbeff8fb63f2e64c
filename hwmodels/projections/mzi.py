"""A photonic mesh of Mach-Zehnder interferometers."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from hwmodels.arrays.converters import SCALE, full_scale
from hwmodels.description import TensorDescription
from hwmodels.errors import NOT_NEGATIVE, Condition, check_options, minimum
from hwmodels.numerics.noise_moments import Noise, NoiseSource
from hwmodels.numerics.random import normal
from hwmodels.optics import mesh
from hwmodels.projection import AgeingMatrix, Programmable


class MZI(Programmable, AgeingMatrix, name="mzi"):
    """Meshes of Mach-Zehnder interferometers: every square block of B is two meshes with attenuators, B = U S V^T.

    Light is detected coherently. The meshes are set to the phases of the Clements decomposition, as nearly as the
    voltages allow; their transmission is computed by sending light through them. Attenuators are relative to the
    largest singular value; one digital factor then brings B to its root mean square. Settable phases, crosstalk and
    loss are static errors: they replace B by another matrix. During training B changes only by the drift of the phases
    (:meth:`relax`).

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 n_in).
        modes: largest size of one mesh, 2 or more; larger matrices take several, whose outputs are added digitally.
        bits: resolution of the heater voltages, 2 to 24; None sets any phase.
        crosstalk: share of a heater's phase that reaches each neighbour.
        loss: loss of power in each interferometer, dB.
        drift: standard deviation of each phase after one second of random walk, rad.
        sigma: standard deviation of the detection noise, in units of (full-scale input x largest entry of B).
        full_scale: full-scale input: max|e| of each ``sample``, of the ``batch``, or ``none``: 1.
    """

    source = "Clements et al. 2016, Optica 3, 1460; Shen et al. 2017, Nat. Photon. 11, 441 (U S V); torchonn (errors)"

    tensors: ClassVar = {
        "theta": TensorDescription(
            unit="rad", meaning="phase between the couplers of every interferometer, of both meshes"
        ),
        "phi": TensorDescription(
            unit="rad", meaning="phase in front of the upper input of every interferometer, of both meshes"
        ),
        "out": TensorDescription(unit="rad", meaning="phase at every output of both meshes"),
        "attenuation": TensorDescription(meaning="amplitude transmission of the attenuators between the meshes"),
        "scale": TensorDescription(meaning="digital factor behind the meshes"),
        "b": TensorDescription(meaning="matrix that the meshes transmit, times the digital factor, (n_errors, m)"),
        "peak": TensorDescription(meaning="largest entry of the wanted matrix"),
    }

    theta: Tensor
    phi: Tensor
    out: Tensor
    attenuation: Tensor
    scale: Tensor
    b: Tensor
    peak: Tensor

    def __init__(
        self,
        *,
        gain: float = 1.0,
        modes: int = 16,
        bits: int | None = 8,
        crosstalk: float = 0.01,
        loss: float = 0.0,
        drift: float = 0.0,
        sigma: float = 0.0,
        full_scale: Literal["sample", "batch", "none"] = "sample",
    ) -> None:
        super().__init__(gain=gain)
        self.modes, self.bits, self.crosstalk, self.loss = modes, bits, crosstalk, loss
        self.drift, self.sigma, self.full_scale = drift, sigma, full_scale
        check_options(self, NOT_NEGATIVE, "crosstalk", "loss", "drift", "sigma", remedy="change it")
        check_options(self, SCALE, "full_scale", remedy="choose one")
        check_options(self, minimum(2), "modes", remedy="16 is the default")
        width = Condition(lambda n: n is None or 2 <= n <= 24, "2 to 24 or None")
        check_options(self, width, "bits", remedy="change bits")

    @property
    def resolution(self) -> float | None:
        """Bits of the heater voltages."""
        return self.bits

    @property
    def exact(self) -> bool:
        return not self.sigma

    @property
    def size(self) -> int:
        """Number n of modes of one mesh."""
        return max(2, min(self.modes, self.n_in))

    def _program(self, target: Tensor, gen: torch.Generator | None) -> None:
        n = self.size
        down, across = -(-self.n_in // n), -(-self.n_out // n)
        padded = target.new_zeros((down * n, across * n), dtype=torch.float64)
        padded[: self.n_in, : self.n_out] = target
        blocks = padded.view(down, n, across, n).transpose(1, 2).reshape(-1, n, n)
        u, s, vh = torch.linalg.svd(blocks)
        # a row of errors e gives e U S V^T: light meets U^T, the attenuators, then V
        phases = [mesh.clements_phases(u.mT), mesh.clements_phases(vh.mT)]
        relative = s / s.max().clamp_min(torch.finfo(s.dtype).tiny)
        self.set_buffer("theta", mesh.settable_phases(torch.stack([p.theta for p in phases]), self.bits))
        self.set_buffer("phi", mesh.settable_phases(torch.stack([p.phi for p in phases]), self.bits))
        self.set_buffer("out", mesh.settable_phases(torch.stack([p.out for p in phases]), self.bits))
        self.set_buffer("attenuation", relative)
        self.set_buffer("scale", torch.ones_like(relative[0, 0]))
        # settable phases, crosstalk and loss change the size of B: one digital factor restores it
        b = self._transmission()
        self.set_buffer("scale", target.double().norm() / b.norm().clamp_min(torch.finfo(b.dtype).tiny))
        self.set_buffer("b", (b * self.scale).to(target.dtype))
        self.set_buffer("peak", target.abs().max())

    def _meshes(self) -> list[mesh.MeshPhases]:
        """Return the phases of both meshes, crosstalk included, in double precision."""
        beside = mesh.neighbours(self.size).to(self.theta.device)
        return [
            mesh.MeshPhases(
                mesh.with_crosstalk(self.theta[i].double(), beside, self.crosstalk),
                mesh.with_crosstalk(self.phi[i].double(), beside, self.crosstalk),
                self.out[i].double(),
            )
            for i in (0, 1)
        ]

    def _blocks(self, kept: float = 1.0) -> Tensor:
        """Return the transmission of every pair of meshes: (K, n, n), real part, from input (row) to output.

        Args:
            kept: mean of e^(i xi), where every phase has an error xi of its own.
        """
        first, last = (mesh.propagate(phases, self.loss, kept) for phases in self._meshes())
        return (last * self.attenuation.double().unsqueeze(1) @ first).real.mT * self.scale.double()

    def _transmission(self) -> Tensor:
        """Return B as the meshes are now, (n_in, n_out), double precision."""
        return self._whole(self._blocks())

    def _whole(self, blocks: Tensor) -> Tensor:
        """Join blocks (K, n, n) to one matrix (n_in, n_out)."""
        n = self.size
        across = -(-self.n_out // n)
        whole = blocks.view(-1, across, n, n).transpose(1, 2).reshape(-1, across * n)
        return whole[: self.n_in, : self.n_out]

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        y = error @ self.b
        if not self.sigma:
            return y
        return y.addcmul(normal(y, gen), full_scale(error, self.full_scale) * (self.sigma * self.peak))

    def dynamics(self, error: Tensor) -> tuple[NoiseSource, ...]:
        """Return the noise of detection."""
        if not self.sigma:
            return ()
        scale = full_scale(error, self.full_scale) * (self.sigma * self.peak)
        formula = "n_out (sigma max|B| max|e|)^2 / |e B|^2"
        noise = Noise(name="detection noise", formula=formula, fresh=scale.square(), signal=self.clean(error))
        return (NoiseSource(noise, lambda gen: self(error, gen)),)

    def drifted(self, error: Tensor, seconds: float) -> Noise | None:
        """Predict B after a random walk of the phases with standard deviation s = drift sqrt(seconds).

        E[e^(i xi)] = exp(-s^2/2) for every phase, so that light through a mesh with this factor at every phase shifter
        is the mean transmission E B. The second moments of the light give the variance of B, of which detection sees
        the real part: (E|B|^2 + Re E B^2)/2 - (E B)^2. Not modelled: errors that a heater shares with its neighbours.
        """
        if not self.drift:
            return None
        kept = math.exp(-(self.drift**2) * seconds / 2)
        mean = self._blocks(kept)
        first, last = self._meshes()
        n, s = self.size, self.attenuation.double()
        start = torch.zeros(len(s), n, n, n, dtype=torch.complex128, device=s.device)
        start[:, range(n), range(n), range(n)] = 1  # light in one input after the other
        inside = mesh.propagate_moments(first, self.loss, kept, (start, start))
        # a second moment holds two amplitudes, each of which passes its own attenuator
        cut = (s.unsqueeze(2) * s.unsqueeze(1)).unsqueeze(1)
        power, square = mesh.propagate_moments(last, self.loss, kept, (inside[0] * cut, inside[1] * cut))
        detected = (
            (power.diagonal(dim1=2, dim2=3) + square.diagonal(dim1=2, dim2=3)).real / 2 * self.scale.double() ** 2
        )
        shared = self._whole((detected - mean.square()).clamp_min(0)).to(error.dtype)
        shift = error @ (self._whole(mean) - self._transmission()).to(error.dtype)
        formula = "var B(t) / |E B(t)|^2, with exp(-s^2/2) at every phase, s^2 = drift^2 t"
        return Noise(name="drift of the phases", formula=formula, shift=shift, shared=shared, signal=self.clean(error))

    @property
    def ageing(self) -> AgeingMatrix | None:
        return self if self.drift else None

    def statics(self) -> dict[str, Programmable]:
        twins = {}
        if self.bits:
            twins[f"phases of {self.bits} bits"] = self.twin(crosstalk=0.0, loss=0.0)
        if self.crosstalk:
            twins["crosstalk of the heaters"] = self.twin(bits=None, loss=0.0)
        if self.loss:
            twins["loss of the cells"] = self.twin(bits=None, crosstalk=0.0)
        return twins

    def effective(self) -> Tensor:
        """Return the present transmission of the meshes."""
        return self.b

    @torch.no_grad()
    def relax(self, seconds: float, gen: torch.Generator | None = None) -> None:
        """Let every phase walk: a Gaussian step with standard deviation drift sqrt(seconds), rad."""
        if not self.drift or not seconds:
            return
        for phase in (self.theta, self.phi, self.out):
            phase.add_(normal(phase, gen), alpha=self.drift * math.sqrt(seconds))
        self.b.copy_(self._transmission())
