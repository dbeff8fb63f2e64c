"""BrainScaleS-2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.profile import SIZES, SPIKES, WORDS, Profile


@dataclass(frozen=True, kw_only=True)
class BrainScaleS2(Profile, name="brainscales2"):
    """BrainScaleS-2: analog neurons, weights of -63 to 63 that processors on the chip read, modify and write.

    The processors (8 and 16 bit) run any rule, so the rounding is theirs to choose. Correlation sensors are read in 8
    bits; without spikes, 5 bits go into a weight and sums come out in 8, whose range was not found.
    """

    source = "electronicvisions/hxtorch (weights of -63 to 63)"
    verified = "read"
    limits = (
        *WORDS, "batch", "synapse_state", "error_path", "error_bits", "feedback_weights", "arithmetic_bits",
        "input_bits", "output_bits", *SIZES, *SPIKES,
    )  # fmt: skip
    marks: ClassVar[Mapping[str, str]] = {
        "weight_sign": "inferred", "error_path": "remembered", "arithmetic_bits": "remembered",
        "input_bits": "remembered", "output_bits": "remembered", "trace_bits": "remembered",
    }  # fmt: skip

    weight_bits: int | None = 7
    weight_sign: str | None = "synapse"
    error_path: str | None = "chained"
    arithmetic_bits: tuple[int, ...] = (8, 16)
    input_bits: int | None = 5
    output_bits: int | None = 8
    trace_bits: int | None = 8
