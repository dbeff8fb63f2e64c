"""What inference devices share: a pair of conductances per weight, programmed, drifting, and read with 1/f noise."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import Cells, Device
from hwmodels.errors import NeurofaError
from hwmodels.figures import Figure
from hwmodels.numerics.random import normal
from hwmodels.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class Programmed(Device, Provenance):
    """A weight as a differential pair: w = range (G+ - G-) / (g_max - g_min).

    The target is clipped to +-range; its positive part is written on G+, its negative part on G-, the rest stays at
    g_min. Writing reprograms both devices of every weight whose change is not zero, by write-verify with its full
    programming noise, and starts their age anew: for training, keep small changes in a digital accumulator. ``relax``
    lets the devices age; the 1/f noise of a read grows with the age.

    Cells, shaped as the weights: ``plus``, ``minus`` (conductance after programming, uS), ``plus_fate``, ``minus_fate``
    (each device's own draw that governs its drift), ``age`` (s since programming), and the 0-dim ``range`` (weight at
    the highest conductance). Devices that need the wanted conductances keep them in ``plus_target``, ``minus_target``.

    Args:
        g_max: highest conductance, uS.
        g_min: lowest conductance, uS.
        range: weight at g_max, > 0; None takes headroom times the largest programmed weight.
        headroom: see ``range``, >= 1; room for weights that grow.
    """

    T_READ: ClassVar[float | None] = None
    """Time over which a read averages in the noise model, s; None: not stated."""

    g_max: float = 25.0
    g_min: float = 0.0
    range: float | None = None
    headroom: float = 1.0

    def __post_init__(self) -> None:
        self._need("g_min", 0 <= self.g_min < math.inf, "0 or more", "conductances are positive")
        self._need("g_max", self.g_min < self.g_max < math.inf, f"more than g_min = {self.g_min:g}", "raise it")
        self._need("headroom", 1 <= self.headroom < math.inf, "1 or more", "the largest weight must fit in")
        if self.range is not None:
            self._need("range", 0 < self.range < math.inf, "a positive number or None", "change the value")

    def describe(self) -> DeviceDescription:
        return replace(
            super().describe(),
            conductance=(self.g_min, self.g_max),
            write="programming write",
            elements_per_write=2,  # a pair
            read_time=self._read_time(),
        )

    def _read_time(self) -> Figure | None:
        if self.T_READ is None:
            return None
        source = f"{type(self).source}: t_read of the noise model"
        return Figure(low=self.T_READ, high=self.T_READ, unit="s", source=source, verified=self.verified)

    def cell_unit(self, key: str) -> str:
        return "uS" if key in ("plus", "minus", "plus_target", "minus_target") else "1"

    def _need(self, key: str, holds: bool, expected: str, remedy: str) -> None:
        if not holds:
            raise NeurofaError(f"got {self.name}({key}={getattr(self, key)}); expected {expected}; {remedy}")

    @abstractmethod
    def programming_sigma(self, g: Tensor) -> Tensor:
        """Standard deviation of the programmed conductance (uS) for the target ``g`` (uS)."""

    @abstractmethod
    def drifted(self, g: Tensor, fate: Tensor, age: Tensor) -> Tensor:
        """Conductance (uS) at an age.

        Args:
            g: conductance after programming, uS.
            fate: the device's own draw.
            age: time since programming, s; at 0 the result is ``g``.
        """

    @abstractmethod
    def read_sigma(self, g: Tensor, now: Tensor, age: Tensor) -> Tensor:
        """Standard deviation of a read (uS).

        Args:
            g: conductance after programming, uS.
            now: conductance at this age, uS.
            age: time since programming, s.
        """

    def fate(self, g: Tensor, xi: Tensor) -> Tensor:
        """What governs a device's drift, drawn at programming; default: xi itself.

        Args:
            g: wanted conductance, uS.
            xi: a standard normal number; may be overwritten.
        """
        return xi

    def program(self, target: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Write the target with programming noise.

        Args:
            target: the wanted weights, any shape, dimensionless.
            gen: source of the programming noise and of each device's drift.

        Returns:
            The cells, at age 0.

        Raises:
            NeurofaError: no generator.
        """
        if self.range is not None:
            top = target.new_full((), self.range)
        else:
            top = target.abs().amax() if target.numel() else target.new_zeros(())
            top = torch.where(top > 0, top * self.headroom, 1.0).to(target.dtype)
        return {**self._written(target, top, gen), "age": torch.zeros_like(target), "range": top}

    def _written(self, target: Tensor, top: Tensor, gen: torch.Generator | None) -> Cells:
        cells: Cells = {}
        part = (target / top).clamp_(-1, 1).mul_(self.g_max - self.g_min)
        for side, wanted in (("plus", part), ("minus", -part)):
            g = wanted.clamp(min=0).add_(self.g_min)
            cells[side] = normal(g, gen).mul_(self.programming_sigma(g)).add_(g).clamp_(min=0)
            cells[f"{side}_fate"] = self.fate(g, normal(g, gen))
        return cells

    def conductances(self, cells: Cells) -> tuple[Tensor, Tensor]:
        """G+ and G- at the present age, uS, without read noise."""
        age = cells["age"]
        return (
            self.drifted(cells["plus"], cells["plus_fate"], age),
            self.drifted(cells["minus"], cells["minus_fate"], age),
        )

    def value(self, cells: Cells) -> Tensor:
        """The weights range (G+ - G-) / (g_max - g_min) at the present age."""
        plus, minus = self.conductances(cells)
        return (plus - minus).mul_(cells["range"] / (self.g_max - self.g_min))

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """The weights with the 1/f noise that a read at the present age sees."""
        plus, minus = self.conductances(cells)
        variance = self._variance(cells, plus, minus)
        noisy = normal(plus, gen).mul_(variance.sqrt_()).add_(plus).sub_(minus)
        return noisy.mul_(cells["range"] / (self.g_max - self.g_min))

    def read_variance(self, cells: Cells) -> Tensor:
        """Of the 1/f noise of both devices at the present age."""
        return self._variance(cells, *self.conductances(cells)) * (cells["range"] / (self.g_max - self.g_min)).square()

    def _variance(self, cells: Cells, plus: Tensor, minus: Tensor) -> Tensor:
        """Variance of a read of G+ - G-, uS^2."""
        variance = self.read_sigma(cells["plus"], plus, cells["age"]).square_()
        return variance.add_(self.read_sigma(cells["minus"], minus, cells["age"]).square_())

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Reprogram the weights whose change is not zero."""
        touched = change != 0
        fresh = self._written(self.value(cells) + change, cells["range"], gen)
        after = {key: torch.where(touched, cell, cells[key]) for key, cell in fresh.items()}
        return {**after, "age": cells["age"].masked_fill(touched, 0.0), "range": cells["range"]}

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        """Age by ``seconds`` (s)."""
        return {**cells, "age": cells["age"] + seconds}

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Moments of the drift over the fates, by quadrature; None for cells that have aged already.

        Fates follow from wanted conductances; those that were programmed stand in for them, which only near the highest
        conductance of a device with a steep fit (hermes) is seen.
        """
        if bool((cells["age"] != 0).any()):
            return None
        unit = cells["range"] / (self.g_max - self.g_min)
        age = torch.full_like(cells["age"], seconds)
        means, variance = [], torch.zeros_like(age)
        for side in ("plus", "minus"):
            g = cells[side]
            seen = [(self.drifted(g, self.fate(g, torch.full_like(g, x)), age), share) for x, share in gauss_hermite()]
            first = torch.stack([now * share for now, share in seen]).sum(0)
            variance += torch.stack([(now - first).square() * share for now, share in seen]).sum(0)
            means.append(first)
        return (means[0] - means[1]) * unit, variance * unit.square()


@functools.cache
def gauss_hermite(n: int = 16) -> tuple[tuple[float, float], ...]:
    """Nodes and weights of E f(xi) = sum_k w_k f(x_k), xi standard normal; exact for polynomials below degree 2 n.

    Source: Golub and Welsch 1969, Math. Comput. 23, 221 (eigenvalues of the Jacobi matrix).
    """
    beside = torch.arange(1, n, dtype=torch.float64).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return tuple(zip(nodes.tolist(), vectors[0].square().tolist(), strict=True))


def polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """sum_k c_k x^k, by Horner's rule; ``coefficients`` begin with c_0."""
    y = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        y = y.mul_(x).add_(c)
    return y


def power_law(g: Tensor, nu: Tensor, age: Tensor, t0: float) -> Tensor:
    """Drift g ((age + t0)/t0)^(-nu), conductance as ``g`` (Nandakumar et al. 2019, ICECS, 8964852)."""
    return torch.exp(torch.log1p(age / t0).mul_(-nu)).mul_(g)


def one_over_f(age: Tensor, t0: float, t_read: float) -> Tensor:
    """The growth of 1/f noise with age: sqrt(ln((t + t_read)/(2 t_read))), t = age + t0; dimensionless."""
    return ((age + (t0 + t_read)) / (2 * t_read)).log_().clamp_(min=0).sqrt_()
