"""The learning engine of Intel Loihi, first generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.profile import ERRORS, SIZES, SPIKES, UPDATES, WORDS, Profile


@dataclass(frozen=True, kw_only=True)
class Loihi1(Profile, name="loihi1"):
    """The learning engine of Loihi 1: weights of 9 bits with sign, sums of products in 16 bits, once an epoch.

    dw = sum_i s_i D_i prod_j (V_ij + C_ij) with s = m 2^k, m of 4 bits (whether one of them is a sign was not read).
    An error can enter only as a trace V: 7 bits of magnitude, and a second product of opposite sign for its sign. The
    sum is the weight followed by 7 more bits, saturated at 16, and rounded stochastically. One of two tags beside each
    weight (9 bits) could hold a momentum. Traces decay with stochastic rounding of 7 random bits.
    """

    source = (
        "lava-nc/lava, bit-approximate model: core/learning/constants.py, learning_rule_applier.py, connection models"
    )
    verified = "read"
    limits = (*WORDS, "rounding", "accumulator_bits", "rate_bits", *UPDATES, *ERRORS, *SIZES, *SPIKES)
    marks: ClassVar[Mapping[str, str]] = dict.fromkeys((*UPDATES, "error_path", "error_bits"), "inferred")

    weight_bits: int | None = 9
    weight_sign: str | None = "synapse"
    rounding: str | None = "stochastic"
    accumulator_bits: int | None = 16
    rate_bits: int | None = 4
    batch: int | None = 1
    synapse_state: int | None = 1
    error_path: str | None = "direct"
    error_bits: int | None = 8
    trace_bits: int | None = 7
