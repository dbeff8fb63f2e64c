"""A resistive processing unit, updated by stochastic pulse trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.profile import Profile


@dataclass(frozen=True, kw_only=True)
class RPU(Profile, name="rpu"):
    """A crossbar of resistive devices, updated sample by sample by stochastic pulse trains of at most 31 slots.

    The device is the specification of 1250 states with 30 % variations; no device was measured. Weights are stored
    nowhere else, so that there is no memory beside them for a momentum.
    """

    source = "aihwkit, preset GokmenVlasov and update parameters; Gokmen and Vlasov 2016, Front. Neurosci. 10:333"
    verified = "read"
    limits = ("memory", "pulses", "synapse_state", "fan_in", "layer_width")
    marks: ClassVar[Mapping[str, str]] = {"synapse_state": "inferred"}

    memory: str | None = "gokmen_vlasov"
    pulses: int | None = 31
    synapse_state: int | None = 0

    def device(self) -> str | None:
        """Return the spec of the memory device, written by pulse trains of ``pulses`` slots at most."""
        if self.memory is None or self.pulses is None:
            return self.memory
        return f"pulse_trains(device={self.memory}, slots={self.pulses})"
