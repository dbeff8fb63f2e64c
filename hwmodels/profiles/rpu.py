"""A resistive processing unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.profile import Profile


@dataclass(frozen=True, kw_only=True)
class RPU(Profile, name="rpu"):
    """A crossbar of resistive devices that stochastic pulse trains of at most 31 slots update, sample by sample.

    The device is the specification of 1250 states with 30 % variations; it was never measured on one device. Weights
    are stored nowhere else, so there is no place beside them for a momentum.
    """

    source = "aihwkit, preset GokmenVlasov and update parameters; Gokmen and Vlasov 2016, Front. Neurosci. 10:333"
    verified = "read"
    limits = ("memory", "pulses", "synapse_state", "fan_in", "layer_width")
    marks: ClassVar[Mapping[str, str]] = {"synapse_state": "inferred"}

    memory: str | None = "gokmen_vlasov"
    pulses: int | None = 31
    synapse_state: int | None = 0

    def device(self) -> str | None:
        """The memory device behind pulse trains of that length."""
        if self.memory is None or self.pulses is None:
            return self.memory
        return f"pulse_trains(device={self.memory}, slots={self.pulses})"
