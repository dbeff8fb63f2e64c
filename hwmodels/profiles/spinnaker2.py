"""SpiNNaker2, digital processors with multiply-accumulate arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.profile import SIZES, SPIKES, UPDATES, Profile


@dataclass(frozen=True, kw_only=True)
class SpiNNaker2(Profile, name="spinnaker2"):
    """SpiNNaker2: processors and multiply-accumulate arrays; any rule runs, in 8 or 16 bits or 32-bit floats.

    Its limits are memory and time: e-prop for 25 000 weights took 680 kB. How many neurons fit was not found.
    """

    source = "abstract of Front. Neurosci. 2022, 10.3389/fnins.2022.1018006 (e-prop on SpiNNaker2)"
    verified = "read"
    limits = ("weight_bits", "error_path", "arithmetic_bits", *UPDATES, *SIZES, *SPIKES)
    marks: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("weight_bits", "error_path"), "inferred"),
        "arithmetic_bits": "second-hand",
    }

    weight_bits: int | None = 32
    error_path: str | None = "chained"
    arithmetic_bits: tuple[int, ...] = (8, 16, 32)
