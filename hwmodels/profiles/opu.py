"""LightOn's optical processing unit, as a feedback pathway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hwmodels.profile import PROJECTION, Profile


@dataclass(frozen=True, kw_only=True)
class OPUProfile(Profile, name="opu"):
    """One fixed random matrix of light between a binary modulator and a camera; weights stay outside.

    The modulator has 1140 x 912 mirrors, the camera at most 1920 x 1080 pixels of 8 bits. A matrix of 10^6 x 10^6 is
    claimed; experiments are said to have used 10^3 x 10^3.
    """

    source = "lightonai/lightonml, simulated device (sizes, 8 bits); Wang et al. 2024, arXiv 2409.12965 (claimed size)"
    verified = "read"
    limits = (*PROJECTION, "projection_claimed")
    marks: ClassVar[Mapping[str, str]] = {"projection_claimed": "second-hand"}

    feedback: str | None = "opu(error=ternary)"
    error_formats: tuple[str, ...] = ("ternary", "sign")
    projection_inputs: int | None = 1140 * 912
    projection_outputs: int | None = 1920 * 1080
    projection_claimed: int | None = 10**6
    camera_bits: int = 8
    """Width of a camera pixel, bit."""

    @property
    def detector_bits(self) -> float:
        return float(self.camera_bits)
