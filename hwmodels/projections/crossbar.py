"""A memristive crossbar, programmed once."""

from __future__ import annotations

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.errors import NeurofaError
from hwmodels.periphery import Periphery
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
        # the largest programmed weight is 1 for the periphery
        w = self.device.read(self.cells, gen).t() * (self.factor / self.largest)
        height = self.rows or self.n_in
        y = self.periphery.product(error[:, :height], w[:height], gen)
        for row in range(height, self.n_in, height):
            at = slice(row, row + height)
            y = y + self.periphery.product(error[:, at], w[at], gen)
        return y * self.largest

    def effective(self) -> Tensor:
        """What the cells stand for, without read noise and converters."""
        return self.device.value(self.cells).t() * self.factor

    @torch.no_grad()
    def relax(self, seconds: float, gen: torch.Generator | None = None) -> None:
        for key, cell in self.device.relax(self.cells, seconds, gen).items():
            self.keep(f"cell_{key}", cell)
