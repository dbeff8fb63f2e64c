"""A memristive crossbar, programmed once."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.arrays.array_noise import periphery_with_only, product_noises
from hwmodels.arrays.periphery import Periphery
from hwmodels.arrays.product import analog_product
from hwmodels.arrays.read_costs import read_costs
from hwmodels.description import TensorDescription
from hwmodels.device import Cells, Device, relaxed
from hwmodels.errors import POSITIVE_OR_NONE, Condition, check_options
from hwmodels.figures import CostLine, CostReport
from hwmodels.numerics.noise_moments import Noise, NoiseSource
from hwmodels.projection import AgeingMatrix, Programmable
from hwmodels.registry import build


class Crossbar(Programmable, AgeingMatrix, name="crossbar"):
    """A matrix in the cells of a memory device, read through converters: y = alpha ADC((W + noise) DAC(e / alpha)).

    The cells are (n_out, n_in), as those of a forward weight. Arrays with more rows than ``rows`` are cut: every piece
    has converters of its own, and their outputs are added digitally.

    Args:
        gain: standard deviation of the entries in units of 1/sqrt(3 n_in).
        device: physics of the cells: programming error, faults, read noise, drift.
        periphery: converters and output noise; they see weights in units of the largest one.
        peak: largest weight as the device stores it, in the device's unit, the rest being a digital factor; None
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
        self.device: Device = build("device", device)
        self.periphery: Periphery = build("periphery", periphery)
        self.peak, self.rows = peak, rows
        check_options(self, POSITIVE_OR_NONE, "peak", remedy="change peak")
        height = Condition(lambda n: n is None or n >= 1, "at least 1 or None")
        check_options(self, height, "rows", remedy="change rows")
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

    def _set_cells(self, cells: Cells) -> None:
        self._keys = tuple(cells)
        for key, cell in cells.items():
            self.set_buffer(f"cell_{key}", cell)

    def _program(self, target: Tensor, gen: torch.Generator | None) -> None:
        size = target.abs().amax()
        size = torch.where(size > 0, size, torch.ones_like(size))  # an all-zero matrix has no full scale
        factor = torch.ones_like(size) if self.peak is None else size / self.peak
        self._set_cells(self.device.program((target / factor).t().contiguous(), gen))
        self.set_buffer("factor", factor)  # matrix = factor * stored weights
        self.set_buffer("largest", size)

    def adopt(self, cells: Cells) -> None:
        """Use cells that were programmed elsewhere as the matrix, with a digital factor of 1.

        Args:
            cells: of the projection's device, for weights of shape (n_out, n_in).
        """
        self._set_cells(cells)
        stored = self.device.value(cells)
        self.n_out, self.n_in = stored.shape
        self.set_buffer("factor", stored.new_ones(()))
        self.set_buffer("largest", stored.abs().amax().clamp_min(torch.finfo(stored.dtype).tiny))

    def forward(self, error: Tensor, gen: torch.Generator | None = None) -> Tensor:
        return self._through(self.periphery, error, self.device.read(self.cells, gen).t(), gen)

    def _through(self, io: Periphery, error: Tensor, stored: Tensor, gen: torch.Generator | None) -> Tensor:
        """Multiply with stored weights (n_in, n_out), piece by piece through a periphery."""
        # the largest programmed weight is 1 for the periphery
        w = stored * (self.factor / self.largest)
        first, *others = self.pieces
        y = analog_product(io, error[:, first], w[first], gen)
        for at in others:
            y = y + analog_product(io, error[:, at], w[at], gen)
        return y * self.largest

    @property
    def pieces(self) -> list[slice]:
        """Rows of the matrix (inputs) that each array holds."""
        height = self.rows or self.n_in
        return [slice(row, row + height) for row in range(0, self.n_in, height)]

    def dynamics(self, error: Tensor) -> tuple[NoiseSource, ...]:
        """Return all sources of the periphery, added up over the pieces, and the read noise of the cells."""
        return tuple(self._sources(error))

    def _sources(self, error: Tensor) -> Iterator[NoiseSource]:
        signal, stored = self.clean(error), self.device.value(self.cells).t()
        by_piece = [
            product_noises(self.periphery, error[:, at], self.effective()[at], self.largest) for at in self.pieces
        ]
        for noise, *others in zip(*by_piece, strict=True):
            whole = functools.reduce(lambda a, b: a + b, others, noise)
            alone = periphery_with_only(self.periphery, noise.name)
            yield NoiseSource(replace(whole, signal=signal), functools.partial(self._through, alone, error, stored))
        if self.device.noisy:
            variance = self.device.read_variance(self.cells).t() * self.factor.square()
            formula = "sum_ij e_j^2 var(w_ij) / |e W|^2"
            noise = Noise(name="read noise of the cells", formula=formula, shared=variance, signal=signal)
            yield NoiseSource(noise, lambda gen: error @ (self.device.read(self.cells, gen).t() * self.factor))

    def statics(self) -> dict[str, Programmable]:
        return {name: self.twin(device=device) for name, device in self.device.static_errors().items()}

    def effective(self) -> Tensor:
        """Return the matrix of the cells, without read noise and converters."""
        return self.device.value(self.cells).t() * self.factor

    @property
    def ageing(self) -> AgeingMatrix | None:
        return None if self.device.ageing is None else self

    def drifted(self, error: Tensor, seconds: float) -> Noise | None:
        moments = None if self.device.ageing is None else self.device.ageing.aged(self.cells, seconds)
        if moments is None:
            return None
        mean, variance = moments
        return Noise(
            name="drift of the cells",
            formula="(|e (E W(t) - k W)|^2 + sum_ij e_j^2 var w_ij(t)) / |k e W|^2",
            shift=error @ ((mean - self.device.value(self.cells)).t() * self.factor),
            shared=variance.t() * self.factor.square(),
            signal=self.clean(error),
        )

    @torch.no_grad()
    def relax(self, seconds: float, gen: torch.Generator | None = None) -> None:
        self._set_cells(relaxed(self.device, self.cells, seconds, gen))
