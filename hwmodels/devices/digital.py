"""The ideal memory: a float."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells, Device


@dataclass(frozen=True, kw_only=True)
class Digital(Device, name="digital"):
    """A floating-point word per weight, which stores every requested change: w' = w + change.

    Cells: ``weight``, shaped as the weights, dimensionless.
    """

    exact = True
    bounded = False
    source = "IEEE 754 floating-point memory"

    def describe(self) -> DeviceDescription:
        return replace(super().describe(), digital=True)

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Store a copy of the target."""
        return {"weight": target.clone()}

    def value(self, cells: Cells) -> Tensor:
        """Return the stored numbers themselves, not a copy."""
        return cells["weight"]

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Add the change, exactly but for floating-point rounding."""
        return {"weight": cells["weight"] + change}
