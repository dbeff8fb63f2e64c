"""ReckOn, a spiking recurrent processor that learns by e-prop."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.figures import Figure
from hwmodels.profile import ERRORS, SPIKES, UPDATES, WORDS, Profile


@dataclass(frozen=True, kw_only=True)
class ReckOn(Profile, name="reckon"):
    """ReckOn (28 nm, e-prop): 256-256-16 neurons, weights of 8 bits with probabilistic updates by one step.

    The probability of a step is |learning signal x trace x derivative| shifted by whole bits, so that a learning rate
    is 2^-k. Errors of 16 bits reach the hidden neurons through the readout's own weights, at every time step with a
    target; there is no memory for other feedback weights. Eligibility traces have 12 bits (input, recurrent) and 10
    bits (output), membranes 16; the derivative has 5 constant pieces of 5 bits.
    """

    source = (
        "ChFrenkel/ReckOn (Frenkel and Indiveri 2022, ISSCC): doc/README.md, and src/srnn.v for learning signals,"
        " stoch_update and output_act_err"
    )
    verified = "read"
    operation_energy = Figure(
        low=5.3e-12, high=5.3e-12, unit="J", source="ChFrenkel/ReckOn: 5.3 pJ, at 0.5 V", verified="read"
    )
    limits = (
        *(*WORDS, "rounding", "largest_step", "rate_bits", *UPDATES, *ERRORS),
        *("inputs", "hidden_layers", "layer_width", "outputs", *SPIKES),
    )

    weight_bits: int | None = 8
    weight_sign: str | None = "synapse"
    rounding: str | None = "stochastic"
    largest_step: int | None = 1
    rate_bits: int | None = 1
    batch: int | None = 1
    synapse_state: int | None = 0
    error_path: str | None = "direct"
    error_bits: int | None = 16
    feedback_weights: str | None = "readout"
    inputs: int | None = 256
    hidden_layers: int | None = 1
    layer_width: int | None = 256
    outputs: int | None = 16
    trace_bits: int | None = 12
    membrane_bits: int | None = 16
    surrogate_segments: int | None = 5
