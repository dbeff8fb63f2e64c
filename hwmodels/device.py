"""The physics of one stored weight.

A device holds no tensors: it is a frozen set of constants and a few pure functions over *cells*, the state of the
physical elements that stand for a weight matrix. ``Synapses`` (package ``neurofa``) owns the cells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.errors import NeurofaError
from hwmodels.figures import TECHNOLOGIES
from hwmodels.registry import Registered

Cells = dict[str, Tensor]
"""State of the physical elements of one weight tensor, by name; each entry is a tensor."""


class Device(Registered, ABC, kind="device"):
    """A model of the memory element that stores one weight.

    Subclasses are frozen, keyword-only dataclasses whose fields are constants with a unit. All functions are pure:
    they return new cells and draw randomness from the generator that they are given.
    """

    exact: ClassVar[bool] = False
    """True when the cells are the optimizer's own numbers: no ``commit`` is needed, updates may be written in place."""

    bounded: ClassVar[bool] = True
    """Whether writing stops at a largest weight."""

    noisy: ClassVar[bool] = False
    """Whether a read is more than :meth:`value`; true of every class that has a :meth:`read` of its own."""

    factored: ClassVar[bool] = False
    """Whether updates have to come as their two factors, through :meth:`write_outer`."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.noisy = cls.read is not Device.read

    digital_state: ClassVar[int] = 0
    """Digital numbers beside every weight that its updates need."""

    technology: ClassVar[str] = ""
    """Kind of memory, as :data:`hwmodels.figures.TECHNOLOGIES` names it; empty where no published energy, time or
    endurance may be used for the device."""

    @property
    def inner(self) -> Device | None:
        """The device that this one wraps and that stores the weights; None: this one stores them."""
        return None

    @property
    def reading(self) -> Device:
        """The device whose cells a pass reads; default: this one."""
        return self

    def describe(self) -> DeviceDescription:
        """Describe the device to exports, costs and chip checks; default: as the inner device, without figures."""
        if self.inner is not None:
            found = self.inner.describe()
        else:
            found = DeviceDescription(element=self.name, floats=self.exact or not self.bounded)
        if self.technology:
            return replace(found, technology=self.technology, figures=TECHNOLOGIES[self.technology])
        return found

    def cell_unit(self, key: str) -> str:
        """Return the unit of one cell: ``1``, or that of the inner device, before whose names ``inner_`` may stand."""
        return "1" if self.inner is None else self.inner.cell_unit(key.removeprefix("inner_"))

    def faults(self, cells: Cells) -> Tensor | None:
        """Return True where an element is stuck, shaped as the weights; None (default): the device does not know."""
        return None

    def grid(self, cells: Cells) -> tuple[int, float] | None:
        """Return bits and step of the words that are the weights; None (default): the weights are no plain words."""
        return None

    @abstractmethod
    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write-verify a target, as before training.

        Args:
            target: the wanted weights, any shape, dimensionless.
            gen: source of randomness.

        Returns:
            Cells whose :meth:`value` is as near to ``target`` as the device comes.
        """

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write-verify a new target on the same physical elements; default: :meth:`program`, all elements being alike.

        Args:
            cells: the present cells.
            target: the wanted weights, same shape, dimensionless.
            gen: source of randomness.
        """
        return self.program(target, gen)

    @abstractmethod
    def value(self, cells: Cells) -> Tensor:
        """The noise-free weights that the cells stand for (same shape as the programmed target)."""

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """The weights that one pass sees; default: :meth:`value`, without read noise."""
        return self.value(cells)

    def read_variance(self, cells: Cells) -> Tensor:
        """Variance of each weight as a read sees it, in their unit squared; devices whose reads are noisy give it.

        Raises:
            NeurofaError: the device does not say.
        """
        if self.noisy:
            raise NeurofaError(
                f"got a request for the read noise of {self.name}; expected a device that states its variance; measure"
                " it from reads"
            )
        return torch.zeros_like(self.value(cells))

    @abstractmethod
    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Realise a requested change of the weights as far as the device can.

        Args:
            cells: the present cells.
            change: requested addition to the weights, same shape, dimensionless.
            gen: source of randomness.

        Returns:
            The cells afterwards.
        """

    def write_outer(
        self, cells: Cells, x: Tensor, d: Tensor, *, lr: float, gen: torch.Generator | None = None
    ) -> Cells:
        """Realise w += lr sum_b d_b x_b^T; default: :meth:`write` of the product.

        Args:
            cells: the present cells of an (n_out, n_in) matrix, or of kernels with n_in numbers each.
            x: inputs, (B, n_in).
            d: wanted directions at the outputs, (B, n_out); for descent, minus the error.
            lr: learning rate, >= 0.
            gen: source of randomness.

        Returns:
            The cells afterwards.
        """
        change = torch.mm(d.t(), x).mul_(lr)
        return self.write(cells, change.view_as(self.value(cells)), gen)

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        """Let time pass (retention, drift); default: nothing changes.

        Args:
            cells: the present cells.
            seconds: time that passes, s.
            gen: source of randomness.
        """
        return cells

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Weights after :meth:`relax`, from the constants of the device alone; for cells that were just programmed.

        Args:
            cells: the present cells.
            seconds: time that passes, s.

        Returns:
            Mean and variance of every weight over what governs the fate of its elements, in the unit of the weights and
            squared; None where there is no closed form.
        """
        if type(self).relax is not Device.relax:
            return None
        now = self.value(cells)
        return now, torch.zeros_like(now)
