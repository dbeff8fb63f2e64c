"""The physics of one stored weight.

A device holds no tensors. It is a frozen set of constants with pure functions of *cells*, the state of the physical
elements that store a weight tensor. ``Synapses`` (package ``neurofa``) and projections own the cells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.errors import NeurofaError
from hwmodels.figures import TECHNOLOGIES
from hwmodels.registry import Registered

Cells = dict[str, Tensor]
"""State of the physical elements that store one weight tensor, by name: tensors shaped as the weights, or 0-dim."""


class AgeingCells(ABC):
    """The effect of time on the cells of a device: loss of retention and drift."""

    @abstractmethod
    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        """Return the cells after some time.

        Args:
            cells: the present cells.
            seconds: time that passes, s; zero changes nothing.
            gen: source of randomness.
        """

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Predict the weights after :meth:`relax`, in closed form, for cells that were just programmed.

        Args:
            cells: the present cells.
            seconds: time that passes, s.

        Returns:
            Mean and variance of every weight over the random constants that govern its drift, in the unit of the
            weights and that unit squared; None where there is no closed form (default).
        """
        return None


class Device(Registered, ABC, kind="device"):
    """A model of the memory element that stores one weight.

    Subclasses are frozen, keyword-only dataclasses; their fields are constants with a unit. All functions are pure:
    they return new cells, and they draw random numbers from the generator that they are given.

    What only some devices can do is declared by the attributes below and by :attr:`ageing`.
    """

    exact: ClassVar[bool] = False
    """True when the cells are the optimizer's own numbers: no ``commit`` is needed, updates may be written in place."""

    bounded: ClassVar[bool] = True
    """Whether writing stops at a largest weight."""

    noisy: ClassVar[bool] = False
    """Whether :meth:`read` differs from :meth:`value`; every class with read noise declares it."""

    factored: ClassVar[bool] = False
    """Whether an update must be given by the vectors of its outer products, sum_b d_b x_b^T, to :meth:`write_outer`.

    Such a device cannot be trained from one matrix of changes, as :meth:`write` takes it."""

    digital_state: ClassVar[int] = 0
    """Number of digital numbers that updates keep beside every weight, such as 1 for an accumulator of changes."""

    paired: ClassVar[bool] = False
    """Whether a weight is the difference G+ - G- of two elements whose G+ :meth:`element_share` can read alone."""

    technology: ClassVar[str] = ""
    """Kind of memory, a key of :data:`hwmodels.figures.TECHNOLOGIES`; empty where no published energy, time or
    endurance applies to the device."""

    @property
    def ageing(self) -> AgeingCells | None:
        """The effect of time on the cells; None (default): there is none."""
        return None

    @property
    def inner(self) -> Device | None:
        """The device that this one wraps and that stores the weights; None (default): this one wraps no other."""
        return None

    @property
    def reading(self) -> Device:
        """The device whose elements a product with the weights reads, for the cost of reading; default: this one.

        A device of two arrays gives the device of the array that holds the weights.
        """
        return self

    def describe(self) -> DeviceDescription:
        """Return what exports, costs and chip checks need to know of the device.

        By default it is the description of the inner device, or, without one, that of an element without published
        figures; a ``technology`` adds its figures.
        """
        if self.inner is not None:
            about = self.inner.describe()
        else:
            about = DeviceDescription(element=self.name, floats=self.exact or not self.bounded)
        if self.technology:
            return replace(about, technology=self.technology, figures=TECHNOLOGIES[self.technology])
        return about

    def cell_unit(self, key: str) -> str:
        """Return the unit of the cell called ``key``, such as ``uS``; default: ``1``, a number without a unit."""
        return "1"

    def faults(self, cells: Cells) -> Tensor | None:
        """Return True where an element is stuck, shaped as the weights; None (default): the device does not know."""
        return None

    def grid(self, cells: Cells) -> tuple[int, float] | None:
        """Return (bits, step) where every stored weight is a whole number of ``bits`` bits times ``step``.

        None (default): the weights are not stored as such words.
        """
        return None

    def element_share(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """Read the element G+ of every pair alone, and return its place in the conductance range of the device.

        Only a :attr:`paired` device can do it. With G+ one can measure how well a single element is programmed.

        Args:
            cells: the present cells.
            gen: source of the read noise.

        Returns:
            (G+ - g_min) / (g_max - g_min) with read noise, shaped as the weights.

        Raises:
            NeurofaError: the device stores a weight in no pair.
        """
        raise NeurofaError(f"got {self.name}, a weight that is no pair of elements; expected a paired device; use pcm")

    def with_unit_range(self) -> Device:
        """Return a copy of the device in which ``range=None`` and ``scale=None`` are replaced by 1.

        These options say which weight fills the range of an element; without them it depends on the programmed weights.
        Options that were given stay. Devices inside the device are treated in the same way.
        """
        chosen = self.chosen()
        changes: dict[str, object] = {key: 1.0 for key in ("range", "scale") if key in chosen and chosen[key] is None}
        changes |= {key: value.with_unit_range() for key, value in chosen.items() if isinstance(value, Device)}
        return type(self)(**chosen | changes)

    @abstractmethod
    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write-verify a target on new elements, as before training.

        Args:
            target: the wanted weights, any shape, dimensionless.
            gen: source of randomness.

        Returns:
            Cells whose :meth:`value` is as near to ``target`` as the device comes.
        """

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write-verify a new target on the same physical elements; default: :meth:`program`, for identical elements.

        Args:
            cells: the present cells.
            target: the wanted weights, same shape, dimensionless.
            gen: source of randomness.
        """
        return self.program(target, gen)

    @abstractmethod
    def value(self, cells: Cells) -> Tensor:
        """Return the noise-free weights that the cells store, shaped as the programmed target."""

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """Return the weights as one read gives them, with its noise; default: :meth:`value`, without any noise."""
        return self.value(cells)

    def read_variance(self, cells: Cells) -> Tensor:
        """Return the variance of each weight between reads, in the unit of the weights squared.

        Raises:
            NeurofaError: the device is noisy and states no variance.
        """
        if self.noisy:
            raise NeurofaError(
                f"got {self.name}, whose read noise has no stated variance; expected a device that states it; measure"
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
            d: directions at the outputs, (B, n_out); minus the error for descent.
            lr: learning rate, >= 0.
            gen: source of randomness.

        Returns:
            The cells afterwards.
        """
        change = torch.mm(d.t(), x).mul_(lr)
        return self.write(cells, change.view_as(self.value(cells)), gen)

    def static_errors(self) -> dict[str, Device]:
        """Return one device for each static error of this one, by the name of the error, which acts alone in it.

        An error is static when programming fixes it: a misprogrammed conductance, a stuck element.
        """
        return {} if self.exact else {f"programming of {self.name}": self}


def relaxed(device: Device, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
    """Return the cells of a device after some time; where the device does not age, ``cells`` itself.

    Args:
        device: the device.
        cells: its present cells.
        seconds: time that passes, s.
        gen: source of randomness.
    """
    return cells if device.ageing is None else device.ageing.relax(cells, seconds, gen)
