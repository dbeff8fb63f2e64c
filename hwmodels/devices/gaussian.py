"""A float with Gaussian noise on writing and reading: the simplest analog memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.errors import NOT_NEGATIVE, check_options
from hwmodels.numerics.random import normal


@dataclass(frozen=True, kw_only=True)
class Gaussian(Device, name="gaussian"):
    """Unbounded weights with noisy updates and noisy reads.

    Writing gives w' = w + change (1 + write_noise xi): no change, no noise. Reading gives w + read_noise rms(w) xi,
    drawn anew for every pass. xi is standard normal and independent per weight. Programming is exact.

    Cells: ``weight``, shaped as the weights, dimensionless.

    Args:
        write_noise: standard deviation of a written change in units of the change, 0 or more.
        read_noise: standard deviation of a read in units of the root mean square weight, 0 or more.
    """

    bounded = False
    noisy = True
    source = "white Gaussian noise, the common abstraction; no measured device"

    write_noise: float = 0.3
    read_noise: float = 0.0

    def __post_init__(self) -> None:
        check_options(self, NOT_NEGATIVE, "write_noise", "read_noise")

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Store a copy of the target."""
        return {"weight": target.clone()}

    def value(self, cells: Cells) -> Tensor:
        """Return the stored numbers themselves, not a copy."""
        return cells["weight"]

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """Return the stored numbers with new read noise."""
        weight = cells["weight"]
        if not self.read_noise:
            return weight
        return torch.addcmul(weight, normal(weight, gen), weight.square().mean().sqrt() * self.read_noise)

    def read_variance(self, cells: Cells) -> Tensor:
        """Return (read_noise rms(w))^2, the same for all weights."""
        weight = cells["weight"]
        return (weight.square().mean() * self.read_noise**2).expand(weight.shape)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Add the change with noise proportional to it."""
        if not self.write_noise:
            return {"weight": cells["weight"] + change}
        # in the memory of the draw: an update allocates one tensor
        factor = normal(change, gen).mul_(self.write_noise).add_(1)
        return {"weight": factor.mul_(change).add_(cells["weight"])}
