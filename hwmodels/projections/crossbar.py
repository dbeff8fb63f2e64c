"""A memristive crossbar, programmed once."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.arrays.array_noise import noises, only
from hwmodels.arrays.periphery import Periphery
from hwmodels.arrays.read_costs import read_costs
from hwmodels.description import TensorDescription
from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import chain
from hwmodels.devices.stuck import Stuck
from hwmodels.errors import NeurofaError
from hwmodels.figures import CostLine, CostReport
from hwmodels.numerics.noise_moments import Noise, Source
from hwmodels.projection import Programmable
from hwmodels.registry import build


class Crossbar(Programmable, name="crossbar"):
    """A matrix in the cells of a memory device, read through converters: y = alpha ADC((W + noise) DAC(e / alpha)).

    The cells are (n_out, n_in), as those of a forward weight. Arrays with more rows than ``rows`` are cut: every piece
    has converters of its own, and their outputs are added digitally.

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 n_in).
        device: physics of the cells: programming error, faults, read noise, drift (``relax``).
        periphery: converters and output noise; they see weights in units of the largest one.
        peak: largest weight as the device holds it, in the device's unit, the rest being a digital factor; None
            programs the matrix as it is. Set it to fill the range of a device (1 for a range of +-1).
        rows: inputs of one array; None puts all of them on one.
    """

    source = "aihwkit (Rasch et al. 2021, arXiv 2104.02184), analog tile; error routing as in Nokland 2016"

    tensors: ClassVar = {
        "factor": TensorDescription(meaning="digital factor: matrix over what the device holds"),
        "largest": TensorDescription(meaning="largest weight, the unit of the periphery"),
    }

    factor: Tensor
    largest: Tensor

    def __init__(
        self,
        *,
        gain: float = 1.0,
        device: Device | str = "digital",
        periphery: Periphery | str = "standard",
        peak: float | None = None,
        rows: int | None = None,
    ) -> None:
        super().__init__(gain=gain)
        if peak is not None and not 0 < peak < float("inf"):
            raise NeurofaError(f"got crossbar(peak={peak}); expected a positive number or None; change peak")
        if rows is not None and rows < 1:
            raise NeurofaError(f"got crossbar(rows={rows}); expected at least 1 or None; change rows")
        self.device: Device = build("device", device)
        self.periphery: Periphery = build("periphery", periphery)
        self.peak, self.rows = peak, rows
        self._keys: tuple[str, ...] = ()

    @property
    def stored_on(self) -> Device:
        return self.device

    @property
    def exact(self) -> bool:
        return self.periphery.exact and not self.device.noisy

    def describe_buffer(self, key: str) -> TensorDescription:
        unit = self.device.cell_unit(key.removeprefix("cell_")) if key.startswith("cell_") else "1"
        if unit == "1":
            return super().describe_buffer(key)
        return TensorDescription(meaning="state of the cells of the crossbar", unit=unit)

    def pass_costs(self, vectors: int) -> CostReport:
        pieces = len(self.pieces)
        formula = f"samples × {self.n_out} × {pieces}"
        counted = CostLine.counted("conversions (ADC)", vectors * self.n_out * pieces, formula)
        known = self.programming + CostReport((counted,))
        if self.device.exact:
            gap = "energy and time of an array without a memory device (crossbar(device=...))"
            return known + CostReport(missing=(gap,))
        return known + read_costs(self.device, vectors * self.n_in * self.n_out, vectors)

    @property
    def cells(self) -> Cells:
        """State of the physical elements, by name."""
        return {key: self.get_buffer(f"cell_{key}") for key in self._keys}

    def _program(self, target: Tensor, gen: torch.Generator | None) -> None:
        size = target.abs().amax()
        size = torch.where(size > 0, size, torch.ones_like(size))
        factor = torch.ones_like(size) if self.peak is None else size / self.peak
        cells = self.device.program((target / factor).t().contiguous(), gen)
        self._keys = tuple(cells)
        for key, cell in cells.items():
            self.keep(f"cell_{key}", cell)
        self.keep("factor", factor)  # matrix = factor * what the device holds
        self.keep("largest", size)

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        return self._through(self.periphery, error, self.device.read(self.cells, gen).t(), gen)

    def _through(self, io: Periphery, error: Tensor, held: Tensor, gen: torch.Generator | None) -> Tensor:
        """The product with what the device holds, (n_in, n_out), piece by piece through a periphery."""
        # the largest programmed weight is 1 for the periphery
        w = held * (self.factor / self.largest)
        first, *others = self.pieces
        y = io.product(error[:, first], w[first], gen)
        for at in others:
            y = y + io.product(error[:, at], w[at], gen)
        return y * self.largest

    @property
    def pieces(self) -> list[slice]:
        """Rows of every array."""
        height = self.rows or self.n_in
        return [slice(row, row + height) for row in range(0, self.n_in, height)]

    def adopt(self, cells: Cells) -> None:
        """Take the cells (n_out, n_in) of a matrix that was programmed elsewhere, as they are."""
        self._keys = tuple(cells)
        for key, cell in cells.items():
            self.keep(f"cell_{key}", cell)
        held = self.device.value(cells)
        self.n_out, self.n_in = held.shape
        self.keep("factor", held.new_ones(()))
        self.keep("largest", held.abs().amax().clamp_min(torch.finfo(held.dtype).tiny))

    def dynamics(self, error: Tensor) -> tuple[Source, ...]:
        """Everything of the periphery, added up over the pieces, and the read noise of the cells."""
        signal, held, found = self.clean(error), self.device.value(self.cells).t(), []
        by_piece = [noises(self.periphery, error[:, at], self.effective()[at], self.largest) for at in self.pieces]
        for same in zip(*by_piece, strict=True):
            noise, *others = same
            for other in others:
                noise = noise + other
            alone = only(self.periphery, noise.name)
            found.append(Source(replace(noise, signal=signal), functools.partial(self._through, alone, error, held)))
        if self.device.noisy:
            variance = self.device.read_variance(self.cells).t() * self.factor.square()
            formula = "sum_ij e_j^2 var(w_ij) / |e W|^2"
            read = Noise(name="read noise of the cells", formula=formula, shared=variance, signal=signal)
            found.append(Source(read, lambda gen: error @ (self.device.read(self.cells, gen).t() * self.factor)))
        return tuple(found)

    def drifted(self, error: Tensor, seconds: float) -> Noise | None:
        found = self.device.aged(self.cells, seconds)
        if found is None:
            return None
        mean, variance = found
        shift = error @ ((mean - self.device.value(self.cells)).t() * self.factor)
        return Noise(
            name="drift of the cells", formula="(|e (E W(t) - k W)|^2 + sum_ij e_j^2 var w_ij(t)) / |k e W|^2",
            shift=shift, shared=variance.t() * self.factor.square(), signal=self.clean(error),
        )  # fmt: skip

    @property
    def ages(self) -> bool:
        return type(chain(self.device)[-1]).relax is not Device.relax

    def statics(self) -> dict[str, Programmable]:
        found = {}
        if self.device.exact:
            return {}
        for device in chain(self.device):
            if isinstance(device, Stuck) and (device.low or device.high):
                found["stuck devices"] = self.twin(device=replace(device, device="digital"))
        held = chain(self.device)[-1]
        if not held.exact:
            found[f"programming of {held.name}"] = self.twin(device=held)
        return found

    def effective(self) -> Tensor:
        """What the cells stand for, without read noise and converters."""
        return self.device.value(self.cells).t() * self.factor

    @torch.no_grad()
    def relax(self, seconds: float, gen: torch.Generator | None = None) -> None:
        for key, cell in self.device.relax(self.cells, seconds, gen).items():
            self.keep(f"cell_{key}", cell)
