"""Stuck-at faults on top of any device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.device import Cells, Device
from hwmodels.device_models.nested import inner_device, pack, unpack
from hwmodels.errors import NeurofaError
from hwmodels.numerics.random import uniform


@dataclass(frozen=True, kw_only=True)
class Stuck(Device, name="stuck"):
    """Faults of the differential pair that stands for a weight: w = G+ - G-, G+ = max(w, 0), G- = max(-w, 0).

    Each of the two elements is, once and for all, stuck at its lowest conductance (0) with probability ``low`` or at
    its highest (``range``) with probability ``high``; high wins. The weights are those of the inner device as seen
    through the faults.

    So w is the inner weight clamped to [least, most], plus a shift: a side that is stuck follows it no more.

    Cells: those of the inner device with ``inner_`` before their names; ``most`` (0 where G+ is stuck, else infinity),
    ``least`` (0 where G- is stuck, else minus infinity) and ``shift`` (``range`` where G+ is stuck high, less ``range``
    where G- is), shaped as the weights.

    Args:
        device: what stores the weights, a spec or a device.
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
        inner_device(self, "device")
        for key in ("low", "high"):
            if not 0 <= getattr(self, key) <= 1:
                raise NeurofaError(f"got stuck({key}={getattr(self, key)}); expected a probability; change the value")
        if self.range is not None and not 0 < self.range < math.inf:
            raise NeurofaError(f"got stuck(range={self.range}); expected a positive number or None; change the value")

    def faults(self, cells: Cells) -> Tensor:
        stuck = cells["most"].isfinite() | cells["least"].isfinite()
        below = self.inner.faults(unpack("inner", cells))
        return stuck if below is None else stuck | below

    @property
    def inner(self) -> Device:
        """What stores the weights."""
        assert isinstance(self.device, Device)  # noqa: S101 (narrows the type that the constructor built)
        return self.device

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device, then draw the faults (unknown to whoever programs)."""
        cells = pack("inner", self.inner.program(target, gen))
        shift = torch.zeros_like(target)
        for key, sign in (("most", 1), ("least", -1)):
            high = uniform(target, gen) < self.high
            low = uniform(target, gen) < self.low
            cells[key] = torch.full_like(target, sign * math.inf).masked_fill_(high | low, 0.0)
            shift.add_(high, alpha=sign)
        top = target.new_full((), self.range) if self.range is not None else target.abs().amax()
        return {**cells, "shift": shift * top}

    def reprogram(self, cells: Cells, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Program the inner device anew; the faults stay."""
        return {**cells, **pack("inner", self.inner.reprogram(unpack("inner", cells), target, gen))}

    def value(self, cells: Cells) -> Tensor:
        """The inner weights as seen through the faults."""
        return self._seen(self.inner.value(unpack("inner", cells)), cells)

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """An inner read as seen through the faults."""
        return self._seen(self.inner.read(unpack("inner", cells), gen), cells)

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write to the inner device."""
        return {**cells, **pack("inner", self.inner.write(unpack("inner", cells), change, gen))}

    def write_outer(
        self, cells: Cells, x: Tensor, d: Tensor, *, lr: float, gen: torch.Generator | None = None
    ) -> Cells:
        """Write the factors to the inner device."""
        return {**cells, **pack("inner", self.inner.write_outer(unpack("inner", cells), x, d, lr=lr, gen=gen))}

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        """Let time pass on the inner device."""
        return {**cells, **pack("inner", self.inner.relax(unpack("inner", cells), seconds, gen))}

    def read_variance(self, cells: Cells) -> Tensor:
        """Of the inner device, where a weight follows it."""
        return self.inner.read_variance(unpack("inner", cells)) * self._follows(self.inner, cells)

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Moments of the inner device, as seen through the faults."""
        found = self.inner.aged(unpack("inner", cells), seconds)
        if found is None:
            return None
        return self._seen(found[0], cells), found[1] * self._follows(self.inner, cells)

    @staticmethod
    def _follows(inner: Device, cells: Cells) -> Tensor:
        """1 where the inner weight lies within what the faults leave, else 0."""
        w = inner.value(unpack("inner", cells))
        return ((w > cells["least"]) & (w < cells["most"])).to(w.dtype)

    @staticmethod
    def _seen(w: Tensor, cells: Cells) -> Tensor:
        return torch.clamp(w, cells["least"], cells["most"]).add_(cells["shift"])
