"""Number formats: the values that a hardware number can have, and the gradient of quantisation.

``Format`` is the base of the kind ``format``; ``hwmodels.formats`` has one module for each. Formats never wait for the
host: a scale is computed, and stays, on the device of its tensor.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hwmodels.errors import NeurofaError, one_of
from hwmodels.numerics.random import uniform
from hwmodels.registry import Registered

ROUNDING = one_of("nearest", "stochastic")


class Format(Registered, ABC, kind="format"):
    """A set of representable numbers, and the map of a tensor onto it.

    Subclasses are frozen, keyword-only dataclasses. NaN stays NaN, so that a fault upstream is seen downstream.
    """

    @property
    @abstractmethod
    def bits(self) -> float:
        """Width of one number, bit; without a code word, the base-2 logarithm of the number of different values."""

    @abstractmethod
    def quantize(self, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
        """Map every entry onto the grid.

        Args:
            x: floating-point tensor, any shape and unit.
            gen: source of randomness on the device of ``x``, for formats that round stochastically.

        Returns:
            Numbers of the grid in the shape, dtype, device and unit of ``x``, which is not changed. They carry no
            gradient (``raw`` apart): see :func:`straight_through`.
        """

    def inside(self, x: Tensor) -> Tensor | None:
        """Return where the format does not clip: booleans shaped as ``x``, or None where it never clips (default)."""
        return None


def differentiated(x: Tensor) -> bool:
    """Return whether a derivative through ``x`` may be needed, backwards or forwards.

    Custom autograd functions cost more than the arithmetic of a tick, so that they are left out where none is needed.
    """
    return torch.is_grad_enabled() or forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


def straight_through(fmt: Format, x: Tensor, gen: torch.Generator | None = None) -> Tensor:
    """Quantize with a gradient: the identity where the format does not clip, zero where it does.

    Forward y = Q(x); backward dL/dx = 1(x inside) dL/dy.

    Args:
        fmt: the number format Q.
        x: floating-point tensor, any shape.
        gen: source of randomness, as in :meth:`Format.quantize`.

    Returns:
        ``fmt.quantize(x, gen)``, attached to the graph of ``x``.

    Source: Bengio, Leonard and Courville 2013, arXiv 1308.3432 (the estimator); Hubara et al. 2016, arXiv 1602.02830,
    eq. 4 (zero where it saturates).
    """
    if not differentiated(x):
        return fmt.quantize(x, gen)
    y: Tensor = _StraightThrough.apply(x, fmt, gen)  # type: ignore[no-untyped-call]
    return y


class _StraightThrough(torch.autograd.Function):
    """The estimator; ``forward`` and ``setup_context`` are separate, as ``torch.func`` transforms require."""

    @staticmethod
    def forward(x: Tensor, fmt: Format, gen: torch.Generator | None) -> Tensor:
        return fmt.quantize(x, gen)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Format, torch.Generator | None], output: Tensor) -> None:  # noqa: ARG004
        x, fmt, _ = inputs
        mask = fmt.inside(x)
        ctx.clips = mask is not None
        ctx.save_for_backward(*([] if mask is None else [mask]))

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor, None, None]:
        return (error * ctx.saved_tensors[0] if ctx.clips else error), None, None


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to round in: half-width floats have too few digits for the fraction of a code."""
    return torch.promote_types(dtype, torch.float32)


@functools.lru_cache(maxsize=64)
def grid_step(full: float, top: int, dtype: torch.dtype) -> float:
    """Return the step full / top of a symmetric grid as a Python number, rounded as a tensor of that dtype rounds it.

    Args:
        full: full scale, > 0.
        top: the largest code, which stands for the full scale.
        dtype: of the numbers on the grid.
    """
    return max(float(torch.tensor(full, dtype=dtype) / top), torch.finfo(dtype).tiny)


def round_stochastically(q: Tensor, gen: torch.Generator | None) -> Tensor:
    """Round up with a probability equal to the fraction: r = floor(q) + 1(U < q - floor(q)), so that E[r] = q.

    The distribution is that of floor(q + U), but whole numbers stay: in floating point q + U can reach the next one.

    Args:
        q: floating-point tensor in units of one step; overwritten.
        gen: source of U, uniform in [0, 1), on the device of ``q``.

    Returns:
        Whole numbers, same shape and dtype; Var[r] <= 1/4.

    Raises:
        NeurofaError: no generator.

    Source: Gupta et al. 2015, arXiv 1502.02551, section 3.
    """
    low = q.floor()
    # 1(U < fraction), by the sign: comparing into a tensor of truth values is many times slower on a CPU
    return low.add_(q.sub_(low).sub_(uniform(q, gen)).sign_().clamp_(min=0))


def check_bits(name: str, bits: int, *, one: str) -> None:
    """Refuse widths that a sign and a whole-number code in a float32 cannot have.

    Args:
        name: of the part, for the message.
        bits: width of the code, bit.
        one: remedy for a width of one bit.

    Raises:
        NeurofaError: not in 2 to 24.
    """
    if not 2 <= bits <= 24:
        remedy = one if bits == 1 else f"use {name}(bits=8)"
        raise NeurofaError(f"got {name}(bits={bits}); expected 2 to 24; {remedy}")
