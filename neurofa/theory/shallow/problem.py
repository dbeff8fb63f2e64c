"""Setting of the shallow problem: learning rule, rate, activation and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from hwmodels.errors import NeurofaError
from neurofa.theory.shallow.hardware import HardwareNoise
from neurofa.theory.shallow.units import Units, find_units


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Setting in which a student with one hidden layer learns from a teacher: rule, rate, activation and noise.

    Raises:
        NeurofaError: an unknown rule or units, a rate that is not positive, negative noise.
    """

    rate: float = 0.1
    """eta, learning rate of both layers."""
    rule: Literal["dfa", "bp"] = "dfa"
    """How the error reaches the first layer: through the fixed feedback F (dfa), or the output weights v (bp)."""
    activation: str = "erf"
    """Activation of student and teacher: erf, linear or relu."""
    label_noise: float = 0.0
    """sigma, sd of Gaussian noise on the teacher's output."""
    hardware: HardwareNoise = field(default_factory=HardwareNoise)
    """Noise and number formats of the student's arrays."""

    def __post_init__(self) -> None:
        find_units(self.activation)
        if self.rule not in ("dfa", "bp"):
            raise NeurofaError(f"got rule '{self.rule}'; expected dfa or bp; choose one")
        if not 0 < self.rate < math.inf:
            raise NeurofaError(f"got rate={self.rate}; expected a number > 0; change it")
        if not 0 <= self.label_noise < math.inf:
            raise NeurofaError(f"got label_noise={self.label_noise}; expected a number >= 0; change it")

    @property
    def units(self) -> Units:
        """The activation with its Gaussian averages."""
        return find_units(self.activation)
