"""Elementwise activations with closed-form derivatives, computed in place where the input is not needed again."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
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

    @classmethod
    def like(cls, module: nn.Module) -> Activation | None:
        """Return the activation of this class that equals a torch module; None: there is none.

        Args:
            module: of any kind; the default compares it with that of the class built from defaults.
        """
        candidate = cls()
        plain = candidate.module()
        # equal text means equal options; whether a module works in place makes no difference
        text = repr(module).replace("inplace=True", "").replace("(, )", "()")
        return candidate if type(plain) is type(module) and repr(plain) == text else None


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
    """Leaky rectifier, h = max(0, a) + slope min(0, a).

    Args:
        slope: of the negative part, 0 or more.
    """

    def __init__(self, slope: float = 0.01) -> None:
        if not slope >= 0:
            raise NeurofaError(f"got leaky_relu(slope={slope}); expected 0 or more; 0.01 is the default")
        self.slope = slope

    @classmethod
    def like(cls, module: nn.Module) -> LeakyReLU | None:
        if type(module) is not nn.LeakyReLU or module.negative_slope < 0:
            return None
        return cls() if module.negative_slope == cls().slope else cls(module.negative_slope)

    def forward(self, a: Tensor) -> Tensor:
        return nn.functional.leaky_relu(a, self.slope)

    def forward_(self, a: Tensor) -> Tensor:
        return nn.functional.leaky_relu(a, self.slope, inplace=True)

    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        return aten.leaky_relu_backward(error, kept, self.slope, True)  # type: ignore[no-any-return]

    def module(self) -> nn.Module:
        return nn.LeakyReLU(self.slope)


class ELU(Activation, name="elu"):
    """Exponential linear unit, h = max(0, a) + alpha (exp(min(0, a)) - 1) (Clevert et al. 2016).

    Args:
        alpha: minus the smallest output, 0 or more.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if not alpha >= 0:
            raise NeurofaError(f"got elu(alpha={alpha}); expected 0 or more; 1 is the default")
        self.alpha = alpha

    @classmethod
    def like(cls, module: nn.Module) -> ELU | None:
        if type(module) is not nn.ELU or module.alpha < 0:
            return None
        return cls() if module.alpha == cls().alpha else cls(module.alpha)

    def forward(self, a: Tensor) -> Tensor:
        return nn.functional.elu(a, self.alpha)

    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        return aten.elu_backward(error, self.alpha, 1.0, 1.0, True, kept)  # type: ignore[no-any-return]

    def module(self) -> nn.Module:
        return nn.ELU(self.alpha)


class ReLU6(Activation, name="relu6"):
    """Rectifier with an upper bound, h = min(6, max(0, a))."""

    def forward(self, a: Tensor) -> Tensor:
        return nn.functional.relu6(a)

    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        return aten.hardtanh_backward(error, kept, 0.0, 6.0)  # type: ignore[no-any-return]

    def module(self) -> nn.Module:
        return nn.ReLU6()


class Softplus(Activation, name="softplus"):
    """Smooth rectifier, h = log(1 + exp(a)), the identity above a = 20."""

    needs_input = True

    def forward(self, a: Tensor) -> Tensor:
        return nn.functional.softplus(a)

    def backward(self, error: Tensor, kept: Tensor) -> Tensor:
        return aten.softplus_backward(error, kept, 1.0, 20.0)  # type: ignore[no-any-return]

    def module(self) -> nn.Module:
        return nn.Softplus()


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
        found: Activation | None = part.like(module)  # type: ignore[attr-defined]
        if found is not None:
            return found
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
