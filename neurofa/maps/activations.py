"""Elementwise activations with closed-form derivatives, computed in place where the input is not needed again."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from hwmodels.registry import Registered, parts, recipe

aten = torch.ops.aten


class Activation(Registered, ABC, kind="activation"):
    """An elementwise function h = f(a)."""

    identity: ClassVar[bool] = False
    """Whether h = a, so that no computation is needed."""
    needs_input: ClassVar[bool] = False
    """Whether the derivative needs a; otherwise it is computed from h, and the memory of a is reused for h."""

    @abstractmethod
    def forward(self, a: Tensor) -> Tensor:
        """Return h = f(a), any shape, in new memory."""

    def forward_(self, a: Tensor) -> Tensor:
        """Return h = f(a), in the memory of ``a`` if possible; default: in new memory."""
        return self.forward(a)

    @abstractmethod
    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        """Return error * f'(a); ``kept`` is h, or a when ``needs_input``."""

    def derivative(self, a: Tensor) -> Tensor:
        """Return f'(a), shaped as ``a``."""
        return self.backward(torch.ones_like(a), a.clone() if self.needs_input else self.forward(a.clone()))

    @abstractmethod
    def module(self) -> nn.Module:
        """Return the same function as a torch module."""


class Identity(Activation, name="identity"):
    """Identity, h = a."""

    identity = True

    def forward(self, a: Tensor) -> Tensor:
        return a

    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        return error

    def module(self) -> nn.Module:
        return nn.Identity()


class ReLU(Activation, name="relu"):
    """Rectifier, h = max(0, a)."""

    # torch's own functions: a Python call in between would cost time in small networks
    forward = staticmethod(torch.relu)  # type: ignore[assignment]
    forward_ = staticmethod(torch.relu_)  # type: ignore[assignment]
    backward = staticmethod(functools.partial(aten.threshold_backward, threshold=0))

    def module(self) -> nn.Module:
        return nn.ReLU()


class Tanh(Activation, name="tanh"):
    """Hyperbolic tangent, h = tanh(a)."""

    # torch's own functions: a Python call in between would cost time in small networks
    forward = staticmethod(torch.tanh)  # type: ignore[assignment]
    forward_ = staticmethod(torch.tanh_)  # type: ignore[assignment]
    backward = staticmethod(aten.tanh_backward)

    def module(self) -> nn.Module:
        return nn.Tanh()


class Sigmoid(Activation, name="sigmoid"):
    """Logistic function, h = 1 / (1 + exp(-a))."""

    # torch's own functions: a Python call in between would cost time in small networks
    forward = staticmethod(torch.sigmoid)  # type: ignore[assignment]
    forward_ = staticmethod(torch.sigmoid_)  # type: ignore[assignment]
    backward = staticmethod(aten.sigmoid_backward)

    def module(self) -> nn.Module:
        return nn.Sigmoid()


class LeakyReLU(Activation, name="leaky_relu"):
    """Leaky rectifier, h = max(0, a) + 0.01 min(0, a)."""

    slope: ClassVar[float] = 0.01

    def forward(self, a: Tensor) -> Tensor:
        return nn.functional.leaky_relu(a, self.slope)

    def forward_(self, a: Tensor) -> Tensor:
        return nn.functional.leaky_relu(a, self.slope, inplace=True)

    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        return aten.leaky_relu_backward(error, kept, self.slope, True)  # type: ignore[no-any-return]

    def module(self) -> nn.Module:
        return nn.LeakyReLU(self.slope)


class GELU(Activation, name="gelu"):
    """Gaussian error linear unit, h = a Phi(a), Phi the normal distribution function (Hendrycks and Gimpel 2016)."""

    needs_input = True

    def forward(self, a: Tensor) -> Tensor:
        return nn.functional.gelu(a)

    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        return aten.gelu_backward(error, kept)  # type: ignore[no-any-return]

    def module(self) -> nn.Module:
        return nn.GELU()


class SiLU(Activation, name="silu"):
    """Sigmoid linear unit, h = a sigmoid(a)."""

    needs_input = True

    def forward(self, a: Tensor) -> Tensor:
        return nn.functional.silu(a)

    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        return aten.silu_backward(error, kept)  # type: ignore[no-any-return]

    def module(self) -> nn.Module:
        return nn.SiLU()


def from_module(module: nn.Module) -> Activation | None:
    """Return the registered activation that equals a torch module, or None."""
    for part in parts("activation").values():
        candidate: Activation = part()
        plain = candidate.module()
        # equal text means equal options; whether a module works in place makes no difference
        if type(plain) is type(module) and repr(plain) == repr(module).replace("inplace=True", "").replace(
            "(, )", "()"
        ):
            return candidate
    return None


Nonlinearity = Callable[[Tensor], Tensor]
"""Function g(a) that replaces f'(a) in augmented DFA."""


@recipe("nonlinearity", "one")
def one() -> Nonlinearity:
    """Return g(a) = 1: the error is not multiplied by a derivative."""
    return torch.ones_like


@recipe("nonlinearity", "tanh")
def tanh() -> Nonlinearity:
    """Return the hyperbolic tangent as g(a)."""
    return torch.tanh


@recipe("nonlinearity", "sin")
def sin() -> Nonlinearity:
    """Return the sine as g(a), as in optoelectronic delay systems."""
    return torch.sin


@recipe("nonlinearity", "cos")
def cos() -> Nonlinearity:
    """Return the cosine as g(a)."""
    return torch.cos


@recipe("nonlinearity", "step")
def step() -> Nonlinearity:
    """Return the unit step: g(a) = 1 for a > 0, else 0."""
    return lambda a: (a > 0).to(a.dtype)


@recipe("nonlinearity", "bell")
def bell() -> Nonlinearity:
    """Return the Gaussian g(a) = exp(-a^2): positive, as f' is, but with another shape."""
    return lambda a: torch.exp(-(a**2))
