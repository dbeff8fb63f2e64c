"""Affine operations with W in the forward and B in the return direction, and torch modes that apply them.

In a block of several affine maps a chained rule must not return errors through the maps' own transposes. While
:func:`returning_mode` is active, every operation of :mod:`neurofa.maps.affine_calls` whose weight has a return weight
computes its output as usual and returns its error through that return weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.directions import Direction, LowRank, Outer, ReturnWeights
from neurofa.maps.affine_calls import Affines
from neurofa.maps.convolutions import conv_correlation, returning_convolution

functional = nn.functional


class _Linear(torch.autograd.Function):
    """y = x W^T + b; error at x: delta B, or (delta P) Q with B = Q and ``narrow`` = P; direction of W: delta^T x."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, back: Tensor, narrow: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, back, narrow)
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor | None, ...]:
        x, back, narrow = ctx.saved_tensors
        delta, wanted = deltas[0], ctx.needs_input_grad
        flat = delta.flatten(0, -2)
        return (
            (delta if narrow is None else delta @ narrow) @ back if wanted[0] else None,
            flat.t() @ x.flatten(0, -2) if wanted[1] else None,
            flat.sum(0) if wanted[2] else None,
            None,
            None,
        )


class _Scale(torch.autograd.Function):
    """y = x gain; error at x: delta back; direction of gain: delta x, summed over the broadcast axes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(x, back)
        return x * gain

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor | None, ...]:
        x, back = ctx.saved_tensors
        d_gain = (deltas[0] * x).sum_to_size(back.shape) if ctx.needs_input_grad[1] else None
        return deltas[0] * back, d_gain, None


def asymmetric_linear(x: Tensor, weight: Tensor, bias: Tensor | None, back: Tensor | LowRank) -> Tensor:
    """Return W x + b; autograd returns the error at x through ``back``.

    Args:
        x: (..., n_in).
        weight: (n_out, n_in), W.
        bias: (n_out,) or None.
        back: (n_out, n_in), return weights, oriented as ``weight``; or their factors.

    Returns:
        (..., n_out).
    """
    y: Tensor = _Linear.apply(x, weight, bias, *_factors(back))  # type: ignore[no-untyped-call]
    return y


def _factors(back: Tensor | LowRank) -> tuple[Tensor, Tensor | None]:
    return (back.q, back.p) if isinstance(back, LowRank) else (back, None)


def returning_mode(params: Mapping[str, Tensor], returns: ReturnWeights, inner: dict[str, Tensor]) -> Affines:
    """Return a mode in which every affine operation with a weight of ``params`` returns its error through ``returns``.

    Args:
        params: forward weights by name.
        returns: return weights by the name of the forward weight.
        inner: filled, whenever an error passes the graph, with the error at the output of every affine map, by weight;
            its outputs, or channels, are the last axis.
    """

    def noted(name: str, y: Tensor, axis: int = -1) -> Tensor:
        def note(error: Tensor) -> None:
            inner[name] = error.movedim(axis, -1)

        y.register_hook(note)  # type: ignore[no-untyped-call]
        return y

    def visit(name: str, op: str, call: dict[str, Any]) -> Tensor:
        x, weight, back = call["input"], call["weight"], returns[name]
        if op == "linear":
            rows = call.get("rows")
            if rows is None:
                return noted(name, asymmetric_linear(x, weight, call.get("bias"), back))
            if isinstance(back, LowRank):
                raise NeurofaError(
                    f"got feedback of low rank for '{name}', an attention whose queries and keys come from different"
                    " inputs; expected one input; use kp, or an nn.Linear for each of them"
                )
            return asymmetric_linear(x, weight, call.get("bias"), back[rows])
        if op == "conv":
            return noted(name, returning_convolution(x, weight, call.get("bias"), back, call["sizes"]), axis=1)
        if isinstance(back, LowRank):
            raise NeurofaError(
                f"got feedback of low rank for '{name}', the gain of a normalisation over several axes; expected gains"
                " of one axis; use kp, or normalise over one axis"
            )
        gain, back = weight.reshape(call["shape"]), back.reshape(call["shape"])
        scaled: Tensor = _Scale.apply(x, gain, back)  # type: ignore[no-untyped-call]
        return scaled

    return Affines({name: params[name] for name in returns}, visit)


def correlation_linear(y: Tensor, noise: Tensor) -> Outer:
    """Return the mean of y xi^T over samples and tokens, as factors of outer products.

    Args:
        y: (..., n_out), output for the noise.
        noise: (..., n_in), xi.
    """
    left = y.flatten(0, -2)
    return Outer(left / len(left), noise.flatten(0, -2))


def noise_mode(
    params: Mapping[str, Tensor],
    names: Iterable[str],
    amplitude: float,
    gen: torch.Generator | None,
    correlations: dict[str, Direction],
) -> Affines:
    """Return a mode in which the input of every affine operation is replaced by Gaussian noise xi.

    Args:
        params: forward weights by name.
        names: of the weights whose operations receive noise.
        amplitude: standard deviation of the noise.
        gen: source of the noise.
        correlations: filled, by weight, with the mean over samples and positions of y xi^T, y = W xi; its expectation
            is ``amplitude``^2 W.
    """

    def visit(name: str, op: str, call: dict[str, Any]) -> Tensor:
        x, weight = call["input"], call["weight"]
        if op == "scale":
            scaled: Tensor = x * weight.reshape(call["shape"])
            return scaled
        noise = torch.randn(x.shape, generator=gen, device=x.device, dtype=x.dtype).mul_(amplitude)
        if op == "conv":
            y: Tensor = call["sizes"].product(noise, weight)
            correlations[name] = conv_correlation(y, noise, weight, call["sizes"])
            return y
        y = functional.linear(noise, weight)
        rows = call.get("rows")
        if rows is None:
            correlations[name] = correlation_linear(y, noise)
        else:  # a part of a weight: the others follow
            whole = correlations.setdefault(name, torch.zeros_like(params[name]))
            assert isinstance(whole, Tensor)
            whole[rows] = correlation_linear(y, noise).dense()
        return y

    return Affines({name: params[name] for name in names}, visit)
