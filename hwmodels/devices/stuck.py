"""Stuck-at faults on top of any device."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import Nested
from hwmodels.errors import POSITIVE_OR_NONE, PROBABILITY, check_options
from hwmodels.numerics.random import uniform


@dataclass(frozen=True, kw_only=True)
class Stuck(Nested, name="stuck"):
    """Faults of the differential pair that stores a weight: w = G+ - G-, G+ = max(w, 0), G- = max(-w, 0).

    Each of the two elements is permanently stuck at its lowest conductance (0) with probability ``low`` or at its
    highest (``range``) with probability ``high``; high wins. The faulty weight is the inner weight clamped to [least,
    most], plus a shift: a stuck side no longer follows the inner weight.

    Cells: those of the inner device with ``inner_`` before their names; ``most`` (0 where G+ is stuck, else infinity),
    ``least`` (0 where G- is stuck, else minus infinity) and ``shift`` (``range`` where G+ is stuck high, less ``range``
    where G- is), shaped as the weights.

    Args:
        device: the device that stores the weights, or its spec.
        low: probability that an element is stuck at its lowest conductance, 0 to 1.
        high: probability that an element is stuck at its highest conductance, 0 to 1.
        range: weight at the highest conductance, > 0; None takes the largest programmed weight.
    """

    source = "Chen et al. 2015, IEEE Trans. Comput. 64:180 (the two rates as remembered, not verified)"

    device: Device | str = "digital"
    low: float = 0.0175
    high: float = 0.0904
    range: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self, PROBABILITY, "low", "high")
        check_options(self, POSITIVE_OR_NONE, "range")

    def faults(self, cells: Cells) -> Tensor:
        stuck, below = cells["most"].isfinite() | cells["least"].isfinite(), super().faults(cells)
        return stuck if below is None else stuck | below

    def static_errors(self) -> dict[str, Device]:
        own: dict[str, Device] = {"stuck devices": replace(self, device="digital")} if self.low or self.high else {}
        return {**own, **super().static_errors()}

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device, then draw the faults: programming does not know them."""
        cells = super().program(target, gen)
        shift = torch.zeros_like(target)
        # a stuck G+ leaves no positive part of w, a stuck G- no negative one; stuck high, they shift w
        for key, sign in (("most", 1), ("least", -1)):
            high = uniform(target, gen) < self.high
            low = uniform(target, gen) < self.low
            cells[key] = torch.full_like(target, sign * math.inf).masked_fill_(high | low, 0.0)
            shift.add_(high, alpha=sign)
        top = target.new_full((), self.range) if self.range is not None else target.abs().amax()
        return {**cells, "shift": shift * top}

    def value(self, cells: Cells) -> Tensor:
        """Return the weights of the inner device, changed by the faults."""
        return self._faulty(super().value(cells), cells)

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """Return a read of the inner device, changed by the faults."""
        return self._faulty(super().read(cells, gen), cells)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write to the inner device; a weight that a fault holds does not follow."""
        return self.with_inner(cells, self.inner.write(self.inner_cells(cells), change, gen))

    def write_outer(
        self, cells: Cells, x: Tensor, d: Tensor, *, lr: float, gen: torch.Generator | None = None
    ) -> Cells:
        """Write the outer products of an update to the inner device."""
        return self.with_inner(cells, self.inner.write_outer(self.inner_cells(cells), x, d, lr=lr, gen=gen))

    def read_variance(self, cells: Cells) -> Tensor:
        """Return the variance of the inner device, 0 where a fault holds the weight."""
        return super().read_variance(cells) * self._follows(cells)

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Return mean and variance of the inner device's weights after ageing, changed by the faults."""
        moments = super().aged(cells, seconds)
        if moments is None:
            return None
        return self._faulty(moments[0], cells), moments[1] * self._follows(cells)

    def _follows(self, cells: Cells) -> Tensor:
        """Return 1 where the inner weight lies within what the faults leave, else 0."""
        w = self.inner.value(self.inner_cells(cells))
        return ((w > cells["least"]) & (w < cells["most"])).to(w.dtype)

    @staticmethod
    def _faulty(w: Tensor, cells: Cells) -> Tensor:
        return torch.clamp(w, cells["least"], cells["most"]).add_(cells["shift"])
