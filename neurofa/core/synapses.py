"""The only container of weights: what the optimizer asks for, realised by a device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwmodels.description import DescribedBuffers, TensorDescription
from hwmodels.device import Cells, Device, relaxed
from hwmodels.device_models.compiled_write import compiled_write
from hwmodels.devices.wear import add_ledger
from hwmodels.errors import NeurofaError
from hwmodels.numerics.compiled import draw_key


class Synapses(DescribedBuffers):
    """One weight tensor that lives on a device.

    ``weight`` is an ordinary parameter: any ``torch.optim`` optimizer steps it, ``state_dict``, ``.to()`` and
    ``deepcopy`` work as usual. :meth:`commit` then hands the change that the optimizer asked for to the device, and
    ``weight`` becomes what the device made of it.

    Args:
        target: the weights to program, any shape.
        device: physics of one stored weight.
        gen: source of randomness for programming.
        adopt: let an exact device keep ``target`` itself, which nobody else may hold: large matrices are not there
            twice while they are made.

    With ``fused`` set, a write is one compiled kernel (:mod:`hwmodels.device_models.compiled_write`).
    """

    weight: nn.Parameter
    fused: bool = False

    def __init__(
        self, target: Tensor, device: Device, gen: torch.Generator | None = None, *, adopt: bool = False
    ) -> None:
        super().__init__()
        self.device = device
        cells: Cells = {}
        if device.exact:  # stores what it is given, and keeps no cells beside the weight
            value = target.detach() if adopt else target.detach().clone()
        else:
            cells = device.program(target.detach(), gen)
            value = device.value(cells).clone()
        self.weight = nn.Parameter(value)
        self._cells = tuple(cells)
        for key in self._cells:
            self.register_buffer(f"cell_{key}", cells[key])

    @property
    def exact(self) -> bool:
        """True when the optimizer's numbers are the stored numbers (no device in between)."""
        return self.device.exact

    @property
    def cells(self) -> Cells:
        """State of the physical elements, by name."""
        if self.exact:
            return {"weight": self.weight.detach()}
        return {key: self.get_buffer(f"cell_{key}") for key in self._cells}

    def read(self, gen: torch.Generator | None = None) -> Tensor:
        """The weights that this pass sees: detached, with the device's read noise."""
        return self.device.read(self.cells, gen) if self.device.noisy else self.weight.detach()

    @torch.no_grad()
    def commit(self, gen: torch.Generator | None = None) -> None:
        """Let the device realise the change of ``weight`` since the last commit; a no-op for an exact device."""
        if self.exact:
            return
        self.write(self.weight.detach() - self.device.value(self.cells), gen)

    @torch.no_grad()
    def write(self, change: Tensor, gen: torch.Generator | None = None) -> None:
        """Ask the device for a change of the weights (same shape) that no optimizer has put into ``weight`` yet."""
        if self.exact:
            self.weight.add_(change)
        elif self.fused and gen is not None:
            compiled_write(self.device)(self.cells, self.weight.data, change, draw_key(gen))
        else:
            self._store(self.device.write(self.cells, change, gen))

    @torch.no_grad()
    def write_outer(self, x: Tensor, d: Tensor, *, lr: float, gen: torch.Generator | None = None) -> None:
        """Ask the device for the change lr sum_b d_b x_b^T, by its factors.

        Args:
            x: (B, n_in) inputs.
            d: (B, n_out) wanted directions; for descent, minus the error.
            lr: learning rate, >= 0.
            gen: source of pulses and noise.
        """
        self._store(self.device.write_outer(self.cells, x, d, lr=lr, gen=gen))

    @torch.no_grad()
    def program(self, target: Tensor, gen: torch.Generator | None = None) -> None:
        """Write-verify new weights (loading a trained model, a measured matrix).

        Raises:
            NeurofaError: the target has another shape.
        """
        if target.shape != self.weight.shape:
            raise NeurofaError(
                f"got weights of shape {tuple(target.shape)}; expected {tuple(self.weight.shape)}; check the source"
            )
        target = target.to(self.weight)
        if self.exact:
            self.weight.copy_(target)
        else:
            self._store(self.device.reprogram(self.cells, target, gen))

    @torch.no_grad()
    def relax(self, seconds: float, gen: torch.Generator | None = None) -> None:
        """Let ``seconds`` (s) pass on the device: retention and drift."""
        if not self.exact:
            self._store(relaxed(self.device, self.cells, seconds, gen))

    def describe_buffer(self, key: str) -> TensorDescription:
        cell = key.removeprefix("cell_")
        return TensorDescription(meaning=f"'{cell}' of {self.device.name}", unit=self.device.cell_unit(cell))

    def count_writes(self) -> None:
        """Keep a ledger of every write from now on (``wear``, which changes nothing else); an exact device has none."""
        if self.exact:
            return
        self.device, cells = add_ledger(self.device, self.cells)
        for key in self._cells:
            delattr(self, f"cell_{key}")
        self._cells = tuple(cells)
        for key, cell in cells.items():
            self.register_buffer(f"cell_{key}", cell)

    def _store(self, cells: Cells) -> None:
        for key in self._cells:
            buffer = self.get_buffer(f"cell_{key}")
            if cells[key] is not buffer:
                buffer.copy_(cells[key])
        self.weight.copy_(self.device.value(self.cells))

    def extra_repr(self) -> str:
        """Shape and device, for ``print(network)``."""
        return f"{tuple(self.weight.shape)}, device={self.device}"
