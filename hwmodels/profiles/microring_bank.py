"""A bank of microring resonators, as a feedback pathway."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwmodels.errors import POSITIVE, check_options
from hwmodels.profile import PROJECTION, Profile


@dataclass(frozen=True, kw_only=True)
class MicroringBank(Profile, name="microring_bank"):
    """A photonic weight bank of 50 x 20 rings: analog errors in, inner products of 4.35 bits out; weights stay outside.

    All figures are remembered: 50 outputs of 20 channels each, noise of one inner product ``sigma`` = 0.098 behind an
    off-chip detector, 0.202 (3.31 bits) behind an on-chip one. A larger matrix has to be cut into pieces.
    """

    source = "Filipovich et al. 2022, Optica 9, 1323, arXiv 2111.06862"
    verified = "remembered"
    limits = tuple(name for name in PROJECTION if name != "error_formats")

    projection_inputs: int | None = 20
    projection_outputs: int | None = 50
    sigma: float = 0.098
    """Standard deviation of one inner product, in units of the full-scale input."""

    def __post_init__(self) -> None:
        check_options(self, POSITIVE, "sigma", remedy="0.098 is the default")
        if self.feedback is None:
            object.__setattr__(self, "feedback", f"microring(sigma={self.sigma})")
        super().__post_init__()

    @property
    def detector_bits(self) -> float:
        return math.log2(2 / self.sigma)
