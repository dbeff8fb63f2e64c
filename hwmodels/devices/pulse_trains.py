"""Devices that are written by stochastic pulse trains, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import Nested
from hwmodels.device_models.pulses import PulseDriven, PulseTrain
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True)
class PulseTrains(PulseDriven, Nested, name="pulse_trains"):
    """A pulse-driven device written by pulse trains: rows and columns send random pulses, it steps where two coincide.

    The batch is not summed first: every sample sends its own trains
    (:func:`hwmodels.device_models.pulses.play_pulse_trains`), as on a crossbar, and takes several times as long as a
    summed update. Updates have to be outer products and the learning rate has to reach the pulses, so that only plain
    SGD can train it. Cells are those of the inner device.

    Args:
        device: the pulse-driven device, or its spec.
        slots: length S of a train, at least 1.
        fit_length: shorten the train of a sample to ceil(lr max|x| max|d| / step) slots.
        balance: give the largest x and the largest d the same probability of a pulse.
    """

    source = "Gokmen and Vlasov 2016, Front. Neurosci. 10:333; Gokmen, Onen and Haensch 2017, Front. Neurosci. 11:538"
    factored = True
    prefixed = False

    device: Device | str = "constant_step"
    slots: int = 31
    fit_length: bool = True
    balance: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.device, PulseDriven):
            raise NeurofaError(
                f"got pulse_trains(device={self.inner.name}); expected a device that is driven by pulses; use"
                " constant_step"
            )
        object.__setattr__(self, "factored", True)
        PulseTrain(slots=self.slots, fit_length=self.fit_length, balance=self.balance)  # refuses a wrong length

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), train_slots=self.slots)

    @property
    def inner(self) -> PulseDriven:
        """The pulse-driven device."""
        return cast("PulseDriven", self.device)  # the constructor has checked it

    @property
    def train(self) -> PulseTrain:
        return PulseTrain(slots=self.slots, fit_length=self.fit_length, balance=self.balance)

    def granularity(self, cells: Cells) -> Tensor:
        return self.inner.granularity(cells)

    def advance(
        self, cells: Cells, count: Tensor, rise: Tensor, gen: torch.Generator | None, spread: Tensor | None = None
    ) -> Cells:
        return self.inner.advance(cells, count, rise, gen, spread)

    def settle(self, cells: Cells, gen: torch.Generator | None = None) -> Cells:
        return self.inner.settle(cells, gen)
