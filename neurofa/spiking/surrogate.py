"""Surrogate derivatives, which replace the derivative of a spike by the membrane potential.

A spike is z = H(v), where v is the potential minus the threshold. Its derivative is zero or infinite; learning uses
psi(v) instead.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.format import differentiated
from hwmodels.registry import Registered


class Surrogate(Registered, ABC, kind="surrogate"):
    """A surrogate derivative psi(v) of a spike, where v is the potential minus the threshold."""

    @abstractmethod
    def derivative(self, v: Tensor) -> Tensor:
        """Return psi(v), a new tensor shaped as ``v``, the potential minus the threshold."""

    def fire(self, v: Tensor) -> Tensor:
        """Return z = 1 where v > 0, else 0, in the dtype of ``v``; autograd uses psi(v) as its derivative."""
        if not differentiated(v):
            return _step(v)
        z: Tensor = _Spike.apply(v, self)  # type: ignore[no-untyped-call]
        return z


def _step(v: Tensor) -> Tensor:
    return (v > 0).to(v.dtype)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(v: Tensor, surrogate: Surrogate) -> Tensor:  # noqa: ARG004
        return _step(v)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Tensor) -> None:  # noqa: ARG004
        v, ctx.surrogate = inputs
        ctx.save_for_backward(v)
        ctx.save_for_forward(v)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor, None]:
        (v,) = ctx.saved_tensors
        return errors[0] * ctx.surrogate.derivative(v), None

    @staticmethod
    def jvp(ctx: Any, *changes: Any) -> Tensor:
        (v,) = ctx.saved_tensors
        change: Tensor = changes[0] * ctx.surrogate.derivative(v)
        return change


def _positive(name: str, **values: float) -> None:
    for key, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise NeurofaError(f"got {name}({key}={value}); expected a positive number; change {key}")


class ATan(Surrogate, name="atan"):
    """Arctangent surrogate, psi(v) = (alpha / 2) / (1 + (pi alpha v / 2)^2), the default of snnTorch.

    Args:
        alpha: steepness.
    """

    source = "Fang et al. 2021, ICCV (incorporating learnable membrane time constants)"

    def __init__(self, *, alpha: float = 2.0) -> None:
        _positive(self.name, alpha=alpha)
        self.alpha = alpha

    def derivative(self, v: Tensor) -> Tensor:
        height = self.alpha / 2
        # psi = 1 / (1 / height + (pi v)^2 height): one pass for the sum, one for the reciprocal
        return torch.addcmul(v.new_tensor(1 / height), v, v, value=math.pi**2 * height).reciprocal_()


class FastSigmoid(Surrogate, name="fast_sigmoid"):
    """Fast sigmoid surrogate, psi(v) = 1 / (1 + k |v|)^2.

    Args:
        slope: k.
    """

    source = "Zenke and Ganguli 2018, Neural Computation (SuperSpike)"

    def __init__(self, *, slope: float = 25.0) -> None:
        _positive(self.name, slope=slope)
        self.slope = slope

    def derivative(self, v: Tensor) -> Tensor:
        return v.abs().mul_(self.slope).add_(1).square_().reciprocal_()


class SigmoidSurrogate(Surrogate, name="sigmoid"):
    """Sigmoid surrogate, psi(v) = k s(k v) (1 - s(k v)) with the logistic function s.

    Args:
        slope: k.
    """

    source = "Zenke and Ganguli 2018; snnTorch's surrogate.sigmoid"

    def __init__(self, *, slope: float = 25.0) -> None:
        _positive(self.name, slope=slope)
        self.slope = slope

    def derivative(self, v: Tensor) -> Tensor:
        s = v.mul(self.slope).sigmoid_()
        return (1 - s).mul_(s).mul_(self.slope)


class StraightThrough(Surrogate, name="straight_through"):
    """Straight-through surrogate, psi(v) = 1."""

    source = "Bengio, Leonard and Courville 2013, arXiv 1308.3432"

    def derivative(self, v: Tensor) -> Tensor:
        return torch.ones_like(v)


class Triangular(Surrogate, name="triangular"):
    """Triangular surrogate, psi(v) = (gamma / w) max(0, 1 - |v| / w); with w = threshold that of e-prop.

    Args:
        gamma: height times width.
        width: w, in the unit of the potential.
    """

    source = "Bellec et al. 2020, Nature Communications 11, 3625 (pseudo-derivative)"

    def __init__(self, *, gamma: float = 0.3, width: float = 1.0) -> None:
        _positive(self.name, gamma=gamma, width=width)
        self.gamma, self.width = gamma, width

    def derivative(self, v: Tensor) -> Tensor:
        return v.abs().mul_(-1 / self.width).add_(1).clamp_min_(0).mul_(self.gamma / self.width)


class Boxcar(Surrogate, name="boxcar"):
    """Boxcar surrogate, psi(v) = height for |v| < w, else 0: a gate of one bit.

    Args:
        width: w, in the unit of the potential.
        height: value for |v| < w.
    """

    source = "Neftci et al. 2017, Frontiers in Neuroscience 11, 324 (eRBP)"

    def __init__(self, *, width: float = 0.5, height: float = 1.0) -> None:
        _positive(self.name, width=width, height=height)
        self.width, self.height = width, height

    def derivative(self, v: Tensor) -> Tensor:
        return (v.abs() < self.width).to(v.dtype).mul_(self.height)


class Table(Surrogate, name="table"):
    """Piecewise constant psi(v), by default five segments between four thresholds, as in a chip's look-up table.

    Args:
        edges: thresholds of v, rising.
        values: psi of each segment, one more than edges; the first is that below all edges.
    """

    source = "Frenkel and Indiveri 2022, ISSCC (ReckOn), documentation of the chip: five segments of 5 bit"

    def __init__(
        self,
        *,
        edges: Sequence[float] = (-0.75, -0.25, 0.25, 0.75),
        values: Sequence[float] = (0.0, 0.15, 0.3, 0.15, 0.0),
    ) -> None:
        self.edges, self.values = [float(e) for e in edges], [float(v) for v in values]
        if len(self.values) != len(self.edges) + 1 or sorted(set(self.edges)) != self.edges:
            raise NeurofaError(
                f"got table with {len(self.edges)} edges and {len(self.values)} values; expected rising edges and one"
                " value more; change them"
            )

    def derivative(self, v: Tensor) -> Tensor:
        at = torch.bucketize(v, v.new_tensor(self.edges))
        return v.new_tensor(self.values)[at]
