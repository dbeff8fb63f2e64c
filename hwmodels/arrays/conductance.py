"""Conductance maps: signed weights as pairs and columns of positive conductances.

Weights are (n_in, n_out): inputs drive the rows, outputs are collected at the columns. Conductances are in uS.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import Registered

Conductances = dict[str, Tensor]
"""Conductances by the name of the plane, uS."""


@dataclass(frozen=True, kw_only=True)
class ConductanceMap(Registered, ABC, kind="conductance"):
    """A map from signed weights to conductances within [g_min, g_max], and back.

    The scale s (uS per unit of weight) is chosen so that the largest weight fills the range. It is digital, and needed
    to read the weights back.

    Args:
        g_min: smallest conductance, uS, 0 or more.
        g_max: largest conductance, uS.
    """

    g_min: float = 0.0
    g_max: float = 25.0

    def __post_init__(self) -> None:
        if not 0 <= self.g_min < self.g_max < math.inf:
            raise NeurofaError(
                f"got {self.name}(g_min={self.g_min}, g_max={self.g_max}); expected 0 <= g_min < g_max in uS;"
                " change them"
            )

    @property
    def span(self) -> float:
        """Width of the conductance range, g_max - g_min, uS."""
        return self.g_max - self.g_min

    @property
    @abstractmethod
    def reach(self) -> float:
        """Signed conductance that represents the largest weight, counted from that of weight 0, uS."""

    def scale(self, weights: Tensor) -> Tensor:
        """Return s = reach / max|w|, uS per unit of weight, 0-dim; reach for weights that are all zero."""
        size = weights.abs().amax()
        # weights that are all zero have no largest one: any scale represents them
        return torch.where(size > 0, self.reach / size, size.new_full((), self.reach))

    @abstractmethod
    def split(self, weights: Tensor, scale: Tensor) -> Conductances:
        """Return the conductances that represent weights.

        Args:
            weights: (n_in, n_out).
            scale: uS per unit of weight, from :meth:`scale`; weights beyond the range are clipped.

        Returns:
            One matrix (n_in, n_out) of conductances in uS for every plane, such as ``plus`` and ``minus`` of a pair.
        """

    @abstractmethod
    def join(self, planes: Conductances, scale: Tensor) -> Tensor:
        """Return the weights (n_in, n_out) that conductances represent; the inverse of :meth:`split`.

        Args:
            planes: programmed or measured conductances by plane, uS.
            scale: uS per unit of weight, as of :meth:`split`.
        """


@dataclass(frozen=True, kw_only=True)
class Single(ConductanceMap, name="single"):
    """One device per weight around the middle of its range: g = (g_min + g_max) / 2 + s w; the middle is digital.

    Args:
        g_min: smallest conductance, uS, 0 or more.
        g_max: largest conductance, uS.
    """

    source = "affine map; aihwkit SingleDeviceConductanceConverter"

    @property
    def reach(self) -> float:
        return self.span / 2

    @property
    def middle(self) -> float:
        """The conductance of weight 0, uS."""
        return (self.g_min + self.g_max) / 2

    def split(self, weights: Tensor, scale: Tensor) -> Conductances:
        return {"g": (weights * scale + self.middle).clamp_(self.g_min, self.g_max)}

    def join(self, planes: Conductances, scale: Tensor) -> Tensor:
        return (planes["g"] - self.middle) / scale


@dataclass(frozen=True, kw_only=True)
class ReferenceColumn(Single, name="reference"):
    """One device per weight and one column of references in the middle of the range: w = (g - g_reference) / s.

    A faulty or drifting reference shifts every weight of its row.

    Args:
        g_min: smallest conductance, uS, 0 or more.
        g_max: largest conductance, uS.
    """

    source = "Peng et al. 2020, DNN+NeuroSim V2.0 (dummy column)"

    def split(self, weights: Tensor, scale: Tensor) -> Conductances:
        return super().split(weights, scale) | {"reference": weights.new_full((len(weights), 1), self.middle)}

    def join(self, planes: Conductances, scale: Tensor) -> Tensor:
        return (planes["g"] - planes["reference"]) / scale


@dataclass(frozen=True, kw_only=True)
class DifferentialPair(ConductanceMap, name="pair"):
    """Two devices per weight: G+ = g_min + max(s w, 0), G- = g_min + max(-s w, 0), w = (G+ - G-) / s.

    Args:
        g_min: smallest conductance, uS, 0 or more.
        g_max: largest conductance, uS.
    """

    source = "aihwkit SinglePairConductanceConverter"

    @property
    def reach(self) -> float:
        return self.span

    def split(self, weights: Tensor, scale: Tensor) -> Conductances:
        g = weights * scale
        plus = g.clamp(0, self.span).add_(self.g_min)
        return {"plus": plus, "minus": g.neg_().clamp_(0, self.span).add_(self.g_min)}

    def join(self, planes: Conductances, scale: Tensor) -> Tensor:
        return (planes["plus"] - planes["minus"]) / scale


@dataclass(frozen=True, kw_only=True)
class Pairs(ConductanceMap, name="n_pair"):
    """Several differential pairs per weight, w = sum_k F^k (G+_k - G-_k) / s, the least significant filled first.

    Args:
        g_min: smallest conductance, uS, 0 or more.
        g_max: largest conductance, uS.
        pairs: number of pairs, 2 or more.
        significance: F, weight of a pair in units of the one before it, 1 or more.
    """

    source = "aihwkit NPairConductanceConverter; Boybat et al. 2018, Nat. Commun. 9, 2514 (several devices per weight)"

    pairs: int = 2
    significance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pairs < 2 or not 1 <= self.significance < math.inf:
            raise NeurofaError(
                f"got n_pair(pairs={self.pairs}, significance={self.significance}); expected at least 2 and 1;"
                " use pair for a single pair"
            )

    @property
    def factors(self) -> list[float]:
        """Significance F^k of every pair in the sum, the least significant first."""
        return [self.significance**k for k in range(self.pairs)]

    @property
    def reach(self) -> float:
        return self.span * sum(self.factors)

    def split(self, weights: Tensor, scale: Tensor) -> Conductances:
        left, planes = weights * scale, {}
        for k, factor in enumerate(self.factors):
            g = (left / factor).clamp_(-self.span, self.span)
            planes[f"plus{k}"] = g.clamp_min(0).add_(self.g_min)
            planes[f"minus{k}"] = g.neg().clamp_min_(0).add_(self.g_min)
            left = left - g * factor  # the rest is for the more significant pairs
        return planes

    def join(self, planes: Conductances, scale: Tensor) -> Tensor:
        pairs = [f * (planes[f"plus{k}"] - planes[f"minus{k}"]) for k, f in enumerate(self.factors)]
        return torch.stack(pairs).sum(0) / scale
