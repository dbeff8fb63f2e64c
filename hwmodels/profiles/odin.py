"""ODIN, a spiking crossbar with spike-driven plasticity."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.figures import Figure
from hwmodels.profile import SIZES, UPDATES, WORDS, Profile


@dataclass(frozen=True, kw_only=True)
class ODIN(Profile, name="odin"):
    """ODIN (28 nm): a crossbar of 256 neurons and 64k synapses that learn by spikes alone; no error can enter.

    A synapse holds 3 bits of magnitude, and one bit that maps it; all synapses of a source neuron share one sign, the
    fourth bit of ``weight_bits``. Spike-driven plasticity changes a weight by one step at a time, from the membrane (8
    bits) and calcium (3 bits, its only trace) of the receiving neuron. No rule of this package can be trained on it:
    the profile serves checks.
    """

    source = (
        "ChFrenkel/ODIN (Frenkel, Lefebvre, Legat and Bol 2019, IEEE Trans. Biomed. Circuits Syst. 13:145):"
        " doc/README.md, sections 1 to 4"
    )
    verified = "read"
    operation_energy = Figure(low=12.7e-12, high=12.7e-12, unit="J", source="ChFrenkel/ODIN: 12.7 pJ", verified="read")
    limits = (*WORDS, "largest_step", *UPDATES, "error_path", *SIZES, "trace_bits", "membrane_bits")

    weight_bits: int | None = 4
    weight_sign: str | None = "source"
    largest_step: int | None = 1
    batch: int | None = 1
    synapse_state: int | None = 0
    error_path: str | None = "none"
    neurons: int | None = 256
    synapses: int | None = 65536
    fan_in: int | None = 256
    trace_bits: int | None = 3
    membrane_bits: int | None = 8
