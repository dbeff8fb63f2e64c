"""BrainScaleS-2, analog neurons with processors for learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.profile import ERRORS, SIZES, SPIKES, UPDATES, WORDS, Profile


@dataclass(frozen=True, kw_only=True)
class BrainScaleS2(Profile, name="brainscales2"):
    """BrainScaleS-2: analog neurons, weights of -63 to 63 that processors on the chip read, modify and write.

    The processors (8 and 16 bit) run any rule, so that the rounding is free. Correlation sensors are read in 8 bits.
    Without spikes, inputs have 5 bits and sums 8; the range of the sums was not found.
    """

    source = "electronicvisions/hxtorch (weights of -63 to 63)"
    verified = "read"
    limits = (*WORDS, *UPDATES, *ERRORS, "arithmetic_bits", "input_bits", "output_bits", *SIZES, *SPIKES)
    marks: ClassVar[Mapping[str, str]] = {"weight_sign": "inferred"} | dict.fromkeys(
        ("error_path", "arithmetic_bits", "input_bits", "output_bits", "trace_bits"), "remembered"
    )

    weight_bits: int | None = 7
    weight_sign: str | None = "synapse"
    error_path: str | None = "chained"
    arithmetic_bits: tuple[int, ...] = (8, 16)
    input_bits: int | None = 5
    output_bits: int | None = 8
    trace_bits: int | None = 8
