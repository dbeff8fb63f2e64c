"""Hidden units of the shallow problem: an activation g and its averages over Gaussian fields, in closed form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwmodels.errors import NeurofaError, did_you_mean

Array = NDArray[np.float64]


class Units(ABC):
    """An activation g of hidden units, with the average I2, from which the error of a student follows.

    <...> is a mean over the fields (inputs of units) u ~ N(0, C). The argument ``c`` of an average is the covariance
    C, (..., n, n), of its n fields, in the order in which they are named; leading axes are free, and the result has
    their shape.
    """

    name: ClassVar[str]

    @abstractmethod
    def g(self, field: Tensor) -> Tensor:
        """Return g of fields of any shape."""

    @abstractmethod
    def slope(self, field: Tensor) -> Tensor:
        """Return the derivative g' of fields of any shape."""

    @abstractmethod
    def i2(self, c: Array) -> Array:
        """Return I2(a, b) = <g(u_a) g(u_b)>, the mean product of two activations; ``c`` is (..., 2, 2)."""


class ClosedUnits(Units):
    """An activation whose learning dynamics closes: all averages of online SGD are elementary.

    Source: Saad and Solla 1995, Phys. Rev. E 52, 4225; in the notation of Goldt et al. 2019, arXiv 1906.08632.
    """

    @abstractmethod
    def i3(self, c: Array) -> Array:
        """Return I3(a, b, c) = <g'(u_a) u_b g(u_c)>; ``c`` is (..., 3, 3)."""

    @abstractmethod
    def i4(self, c: Array) -> Array:
        """Return I4(a, b, c, d) = <g'(u_a) g'(u_b) g(u_c) g(u_d)>; ``c`` is (..., 4, 4)."""

    @abstractmethod
    def j2(self, c: Array) -> Array:
        """Return J2(a, b) = <g'(u_a) g'(u_b)>, the mean product of two slopes; ``c`` is (..., 2, 2)."""


class ErfUnits(ClosedUnits):
    """Sigmoidal: g(u) = erf(u / sqrt 2), g'(u) = sqrt(2/pi) exp(-u^2 / 2)."""

    name = "erf"

    def g(self, field: Tensor) -> Tensor:
        return torch.erf(field * 0.5**0.5)

    def slope(self, field: Tensor) -> Tensor:
        return field.square().mul_(-0.5).exp_().mul_((2 / torch.pi) ** 0.5)

    def i2(self, c: Array) -> Array:
        """Return I2 = (2/pi) asin(C12 / sqrt((1 + C11)(1 + C22)))."""
        # erf(u / sqrt 2) = 2 P(z < u) - 1 with z ~ N(0, 1): the variance of z is the 1 beside each C_aa
        norm = np.sqrt((1 + c[..., 0, 0]) * (1 + c[..., 1, 1]))
        return (2 / np.pi) * np.arcsin(c[..., 0, 1] / norm)

    def i3(self, c: Array) -> Array:
        """Return I3 = (2/pi) [C23 (1 + C11) - C12 C13] / ((1 + C11) sqrt((1 + C11)(1 + C33) - C13^2))."""
        one = 1 + c[..., 0, 0]
        root = np.sqrt(one * (1 + c[..., 2, 2]) - c[..., 0, 2] ** 2)
        return (2 / np.pi) * (c[..., 1, 2] * one - c[..., 0, 1] * c[..., 0, 2]) / (one * root)

    def i4(self, c: Array) -> Array:
        """Return I4 = (4/pi^2) asin(L0 / sqrt(L1 L2)) / sqrt(L4).

        L0, L1, L2 and L4 are polynomials of the covariances, as computed below. Conditioned on the two slopes, the
        fields of the two activations are Gaussian with covariance L0/L4 and variances L1/L4 - 1 and L2/L4 - 1, and the
        rest is I2.
        """
        p, q, c12 = 1 + c[..., 0, 0], 1 + c[..., 1, 1], c[..., 0, 1]
        c13, c14, c23, c24 = c[..., 0, 2], c[..., 0, 3], c[..., 1, 2], c[..., 1, 3]
        l4 = p * q - c12**2
        l0 = l4 * c[..., 2, 3] - c23 * c24 * p - c13 * c14 * q + c12 * (c13 * c24 + c14 * c23)
        l1 = l4 * (1 + c[..., 2, 2]) - c23**2 * p - c13**2 * q + 2 * c12 * c13 * c23
        l2 = l4 * (1 + c[..., 3, 3]) - c24**2 * p - c14**2 * q + 2 * c12 * c14 * c24
        return (4 / np.pi**2) * np.arcsin(l0 / np.sqrt(l1 * l2)) / np.sqrt(l4)

    def j2(self, c: Array) -> Array:
        """Return the mean product of two units' slopes, J2 = (2/pi) / sqrt((1 + C11)(1 + C22) - C12^2)."""
        return (2 / np.pi) / np.sqrt((1 + c[..., 0, 0]) * (1 + c[..., 1, 1]) - c[..., 0, 1] ** 2)


class LinearUnits(ClosedUnits):
    """No activation: g(u) = u; I2 = C12, I3 = C23, I4 = C34, J2 = 1."""

    name = "linear"

    def g(self, field: Tensor) -> Tensor:
        return field

    def slope(self, field: Tensor) -> Tensor:
        return torch.ones_like(field)

    def i2(self, c: Array) -> Array:
        return c[..., 0, 1]

    def i3(self, c: Array) -> Array:
        return c[..., 1, 2]

    def i4(self, c: Array) -> Array:
        return c[..., 2, 3]

    def j2(self, c: Array) -> Array:
        return np.ones(c.shape[:-2])


class ReLUUnits(Units):
    """Rectified: g(u) = max(0, u). I4 is not elementary, so that the dynamics is simulated and not solved."""

    name = "relu"

    def g(self, field: Tensor) -> Tensor:
        return field.clamp_min(0)

    def slope(self, field: Tensor) -> Tensor:
        return (field > 0).to(field.dtype)

    def i2(self, c: Array) -> Array:
        """Return I2 = sqrt(C11 C22) (sin t + (pi - t) cos t) / (2 pi), cos t = C12 / sqrt(C11 C22).

        Source: Cho and Saul 2009, NIPS 22, eq. 6 (arc-cosine kernel of degree 1).
        """
        size = np.sqrt(c[..., 0, 0] * c[..., 1, 1])
        # rounding may leave a cosine just outside of [-1, 1]; without variance the average is 0
        cos = np.divide(c[..., 0, 1], size, out=np.zeros_like(size), where=size > 0).clip(-1, 1)
        kernel: Array = size * (np.sqrt(1 - cos**2) + (np.pi - np.arccos(cos)) * cos) / (2 * np.pi)
        return kernel


UNITS: Mapping[str, Units] = {units.name: units for units in (ErfUnits(), LinearUnits(), ReLUUnits())}
"""All units by name."""


def find_units(name: str) -> Units:
    """Return the activation with its Gaussian averages, by its name (``erf``, ``linear``, ``relu``).

    Raises:
        NeurofaError: unknown name.
    """
    if name not in UNITS:
        raise NeurofaError(f"got units '{name}'; expected one of {', '.join(UNITS)}{did_you_mean(name, UNITS)}")
    return UNITS[name]
