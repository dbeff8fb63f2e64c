"""Devices that are written by stochastic pulse trains, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import inner_device
from hwmodels.device_models.pulses import PulseDriven, PulseTrain
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True)
class PulseTrains(PulseDriven, name="pulse_trains"):
    """A pulse-driven device whose updates are played: rows and columns send random pulses, it steps where two coincide.

    The batch is not summed first: every sample sends its own trains (:func:`hwmodels.device_models.pulses.play`),
    which is what a
    crossbar does, and takes several times as long as a summed update. Updates have to be outer products and the
    learning rate has to reach the pulses, so that
    only plain SGD can train it. Cells are those of the device.

    Args:
        device: the pulse-driven device, a spec or a device.
        slots: length S of a train, at least 1.
        fit_length: shorten the train of a sample to ceil(lr max|x| max|d| / step) slots.
        balance: give the largest x and the largest d the same probability of a pulse.
    """

    source = "Gokmen and Vlasov 2016, Front. Neurosci. 10:333; Gokmen, Onen and Haensch 2017, Front. Neurosci. 11:538"
    factored = True

    device: Device | str = "constant_step"
    slots: int = 31
    fit_length: bool = True
    balance: bool = True

    def __post_init__(self) -> None:
        inner = inner_device(self, "device")
        if not isinstance(inner, PulseDriven):
            raise NeurofaError(
                f"got pulse_trains(device={inner.name}); expected a device that is driven by pulses; use constant_step"
            )
        object.__setattr__(self, "factored", True)
        PulseTrain(slots=self.slots, fit_length=self.fit_length, balance=self.balance)  # refuses a wrong length

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), train_slots=self.slots)

    @property
    def inner(self) -> PulseDriven:
        """The pulse-driven device."""
        assert isinstance(self.device, PulseDriven)  # noqa: S101 (narrows the type that the constructor checked)
        return self.device

    @property
    def train(self) -> PulseTrain:
        return PulseTrain(slots=self.slots, fit_length=self.fit_length, balance=self.balance)

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device."""
        return self.inner.program(target, gen)

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        return self.inner.reprogram(cells, target, gen)

    def value(self, cells: Cells) -> Tensor:
        """The inner weights."""
        return self.inner.value(cells)

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """An inner read."""
        return self.inner.read(cells, gen)

    def read_variance(self, cells: Cells) -> Tensor:
        """Of the inner device."""
        return self.inner.read_variance(cells)

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Of the inner device."""
        return self.inner.aged(cells, seconds)

    def granularity(self, cells: Cells) -> Tensor:
        return self.inner.granularity(cells)

    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        return self.inner.advance(cells, count, rise, gen, spread)

    def settle(self, cells: Cells, gen: torch.Generator | None = None) -> Cells:
        return self.inner.settle(cells, gen)

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        return self.inner.relax(cells, seconds, gen)
