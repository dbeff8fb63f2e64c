"""Inference devices: a pair of conductances per weight, programmed once, drifting, and read with 1/f noise."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from hwmodels.description import DeviceDescription
from hwmodels.device import AgeingCells, Cells, Device
from hwmodels.errors import NOT_NEGATIVE, POSITIVE_OR_NONE, Condition, check_options
from hwmodels.figures import Figure
from hwmodels.numerics.random import normal
from hwmodels.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class Programmed(Device, AgeingCells, Provenance):
    """A weight as a differential pair: w = range (G+ - G-) / (g_max - g_min).

    The target is clipped to +-range; its positive part is written on G+, its negative part on G-, the other device is
    set to g_min. As a single device a weight is w = 2 range (G - g_mid) / (g_max - g_min) around the middle g_mid of
    the range, which is subtracted without an error, so that a mean drift shifts every weight. Writing reprograms the
    devices of every weight whose change is not zero, by write-verify with full programming noise, and restarts their
    age: for training, collect small changes in a digital accumulator. ``relax`` lets the devices age; the 1/f noise of
    a read grows with the age.

    Cells, shaped as the weights: ``plus``, ``minus`` (conductance after programming, uS), ``plus_drift``,
    ``minus_drift`` (each device's random drift constant), ``age`` (s since programming), and the 0-dim ``range``
    (weight at the highest conductance). A single device has no ``minus``.

    Args:
        g_max: highest conductance, uS.
        g_min: lowest conductance, uS.
        range: weight at g_max, > 0; None takes headroom times the largest programmed weight.
        headroom: see ``range``, >= 1; room for weights that grow.
        pair: a differential pair for each weight, or a single device.
    """

    noisy = True

    T_READ: ClassVar[float | None] = None
    """Time over which a read averages in the noise model, s; None: not stated."""

    g_max: float = 25.0
    g_min: float = 0.0
    range: float | None = None
    headroom: float = 1.0
    pair: bool = True

    def __post_init__(self) -> None:
        check_options(self, NOT_NEGATIVE, "g_min", remedy="conductances are positive")
        above = Condition(lambda g: self.g_min < g < math.inf, f"more than g_min = {self.g_min:g}")
        check_options(self, above, "g_max", remedy="raise it")
        roomy = Condition(lambda v: 1 <= v < math.inf, "1 or more")
        check_options(self, roomy, "headroom", remedy="the largest weight must fit in")
        check_options(self, POSITIVE_OR_NONE, "range")
        object.__setattr__(self, "paired", self.pair)

    @property
    def sides(self) -> tuple[str, ...]:
        """The elements of one weight, by the names of their cells."""
        return ("plus", "minus") if self.pair else ("plus",)

    @property
    def g_mid(self) -> float:
        """The middle of the range, uS: the conductance of a single device at weight 0."""
        return (self.g_min + self.g_max) / 2

    def describe(self) -> DeviceDescription:
        return replace(
            super().describe(),
            conductance=(self.g_min, self.g_max),
            write="programming write",
            elements_per_write=len(self.sides),
            read_time=self._read_time(),
        )

    def _read_time(self) -> Figure | None:
        if self.T_READ is None:
            return None
        source = f"{type(self).source}: t_read of the noise model"
        return Figure(low=self.T_READ, high=self.T_READ, unit="s", source=source, verified=self.verified)

    def cell_unit(self, key: str) -> str:
        return "uS" if key in ("plus", "minus") else "1"

    @abstractmethod
    def programming_sigma(self, g: Tensor) -> Tensor:
        """Return the standard deviation of the programmed conductance (uS) for the target ``g`` (uS)."""

    @abstractmethod
    def drifted(self, g: Tensor, constant: Tensor, age: Tensor) -> Tensor:
        """Return the conductance (uS) after it has drifted to a given age.

        Args:
            g: conductance after programming, uS.
            constant: drift constant of each device, from :meth:`drift_constant`.
            age: time since programming, s; at 0 the result is ``g``.
        """

    @abstractmethod
    def read_sigma(self, g: Tensor, now: Tensor, age: Tensor) -> Tensor:
        """Return the standard deviation of the noise of one read (uS).

        Args:
            g: conductance after programming, uS.
            now: conductance at this age, uS.
            age: time since programming, s.
        """

    def drift_constant(self, g: Tensor, xi: Tensor) -> Tensor:
        """Return the constant that governs a device's drift, drawn at programming; default: xi itself.

        Args:
            g: wanted conductance, uS.
            xi: a standard normal number; may be overwritten.
        """
        return xi

    @property
    def ageing(self) -> AgeingCells:
        return self

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
        for side, sign in zip(self.sides, (1, -1), strict=False):
            g = (part * sign).clamp_(min=0).add_(self.g_min) if self.pair else part.mul(0.5).add_(self.g_mid)
            cells[side] = self._programmed(g, gen)
            cells[f"{side}_drift"] = self.drift_constant(g, normal(g, gen))
        return cells

    def _programmed(self, g: Tensor, gen: torch.Generator | None) -> Tensor:
        """Return conductances (uS) after write-verify of the targets ``g`` (uS), with programming noise."""
        return normal(g, gen).mul_(self.programming_sigma(g)).add_(g).clamp_(min=0)

    def element_share(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        now = self.drifted(cells["plus"], cells["plus_drift"], cells["age"])
        noise = torch.randn(now.shape, generator=gen) * self.read_sigma(cells["plus"], now, cells["age"])
        return (noise + now - self.g_min) / (self.g_max - self.g_min)

    def conductances(self, cells: Cells) -> tuple[Tensor, ...]:
        """Return the conductances of :attr:`sides` at the present age, uS, without read noise."""
        return tuple(self.drifted(cells[side], cells[f"{side}_drift"], cells["age"]) for side in self.sides)

    def _unit(self, cells: Cells) -> Tensor:
        """Return the weight of one uS, 0-dim."""
        return cells["range"] / (self.g_max - self.g_min) * (1 if self.pair else 2)

    def _difference(self, *g: Tensor) -> Tensor:
        """Return G+ - G- of a pair, or G - g_mid, as a new tensor."""
        return g[0] - (g[1] if self.pair else self.g_mid)

    def value(self, cells: Cells) -> Tensor:
        """Return the weights at the present age."""
        return self._difference(*self.conductances(cells)).mul_(self._unit(cells))

    def read(self, cells: Cells, gen: torch.Generator | None = None) -> Tensor:
        """Return the weights with the 1/f noise of a read at the present age."""
        now = self.conductances(cells)
        # the noises of both devices are independent: one draw serves their difference
        variance = self._variance(cells, now)
        noisy = normal(now[0], gen).mul_(variance.sqrt_()).add_(now[0])
        return self._difference(noisy, *now[1:]).mul_(self._unit(cells))

    def read_variance(self, cells: Cells) -> Tensor:
        """Return the variance of the 1/f noise of all devices of a weight at the present age."""
        return self._variance(cells, self.conductances(cells)) * self._unit(cells).square()

    def _variance(self, cells: Cells, now: tuple[Tensor, ...]) -> Tensor:
        """Return the variance of a read of the difference of conductances, uS^2."""
        sigmas = [self.read_sigma(cells[side], g, cells["age"]) for side, g in zip(self.sides, now, strict=True)]
        variance = sigmas[0].square_()
        for sigma in sigmas[1:]:
            variance.add_(sigma.square_())
        return variance

    def write(self, cells: Cells, change: Tensor, gen: torch.Generator | None = None) -> Cells:
        """Reprogram the weights whose change is not zero."""
        # all weights are drawn and then picked: nothing waits for the number of changed ones
        touched = change != 0
        fresh = self._written(self.value(cells) + change, cells["range"], gen)
        after = {key: torch.where(touched, cell, cells[key]) for key, cell in fresh.items()}
        return {**after, "age": cells["age"].masked_fill(touched, 0.0), "range": cells["range"]}

    def relax(self, cells: Cells, seconds: float, gen: torch.Generator | None = None) -> Cells:
        """Increase the age by ``seconds`` (s)."""
        return {**cells, "age": cells["age"] + seconds}

    def aged(self, cells: Cells, seconds: float) -> tuple[Tensor, Tensor] | None:
        """Return mean and variance of the drifted weights over the drift constants, by quadrature.

        None for cells that have aged already.

        Drift constants follow from wanted conductances. The programmed ones are used instead; the difference shows only
        near the highest conductance of a device with a steep fit (hermes).
        """
        if bool((cells["age"] != 0).any()):
            return None
        unit = self._unit(cells)
        age = torch.full_like(cells["age"], seconds)
        means, variance = [], torch.zeros_like(age)
        for side in self.sides:
            g = cells[side]
            outcomes = [
                (self.drifted(g, self.drift_constant(g, torch.full_like(g, x)), age), share)
                for x, share in gauss_hermite()
            ]
            mean = torch.stack([now * share for now, share in outcomes]).sum(0)
            variance += torch.stack([(now - mean).square() * share for now, share in outcomes]).sum(0)
            means.append(mean)
        return self._difference(*means) * unit, variance * unit.square()


@functools.cache
def gauss_hermite(n: int = 16) -> tuple[tuple[float, float], ...]:
    """Return nodes and weights of E f(xi) = sum_k w_k f(x_k), xi standard normal; exact for polynomials below 2 n.

    Source: Golub and Welsch 1969, Math. Comput. 23, 221 (eigenvalues of the Jacobi matrix).
    """
    # the recurrence of the Hermite polynomials that are orthogonal under the normal density
    beside = torch.arange(1, n, dtype=torch.float64).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return tuple(zip(nodes.tolist(), vectors[0].square().tolist(), strict=True))


def polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Return sum_k c_k x^k, by Horner's rule; ``coefficients`` begin with c_0."""
    y = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        y = y.mul_(x).add_(c)
    return y


def power_law(g: Tensor, nu: Tensor, age: Tensor, t0: float) -> Tensor:
    """Return the conductance g ((age + t0)/t0)^(-nu) after drift.

    Args:
        g: conductance after programming, uS.
        nu: drift exponent.
        age: time since programming, s.
        t0: time of the first read after programming, s.

    Source: Nandakumar et al. 2019, ICECS, 8964852.
    """
    return torch.exp(torch.log1p(age / t0).mul_(-nu)).mul_(g)


def one_over_f(age: Tensor, t0: float, t_read: float) -> Tensor:
    """Return the growth of 1/f noise with age: sqrt(ln((t + t_read)/(2 t_read))), t = age + t0; dimensionless.

    Args:
        age: time since programming, s.
        t0: time of the first read after programming, s.
        t_read: duration of a read, s.
    """
    return ((age + (t0 + t_read)) / (2 * t_read)).log_().clamp_(min=0).sqrt_()
