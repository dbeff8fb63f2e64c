"""Affine operations with W in the forward and B in the return direction, and a torch mode that applies them.

In a block of several affine maps a chained rule must not return errors through the maps' own transposes. While
:func:`returning_mode` is active, every ``linear``, ``conv2d`` and normalisation whose weight has a return weight
computes its output as usual and returns its error through that return weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hwmodels.errors import NeurofaError
from neurofa.core.directions import Direction, LowRank, Outer, ReturnWeights

aten = torch.ops.aten
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


class _Conv2d(torch.autograd.Function):
    """y = W * x + b; error at x: transposed convolution of delta (or of P^T delta, P = ``narrow``) with B.

    ``sizes`` are stride, padding, dilation and groups.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *returning: Any) -> Tensor:
        back, narrow, ctx.sizes = returning
        ctx.save_for_backward(x, back, narrow)
        return functional.conv2d(x, weight, bias, *ctx.sizes)

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor | None, ...]:
        x, back, narrow = ctx.saved_tensors
        delta, wanted = deltas[0], list(ctx.needs_input_grad[:3])

        def backward(error: Tensor, weight: Tensor, mask: list[bool]) -> Any:
            stride, padding, dilation, groups = ctx.sizes
            return aten.convolution_backward(
                error, x, weight, [len(weight)], stride, padding, dilation, False, [0, 0], groups, mask
            )

        if narrow is None:
            return *backward(delta, back, wanted), None, None, None
        # with factors the error at x and the directions need different deltas: two calls
        own = delta.new_empty(1).expand(delta.shape[1], *back.shape[1:])  # only its shape is used
        _, d_w, d_b = backward(delta, own, [False, *wanted[1:]])
        d_x = backward(narrowed(delta, narrow), back, [True, False, False])[0] if wanted[0] else None
        return d_x, d_w, d_b, None, None, None


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


def narrowed(delta: Tensor, p: Tensor) -> Tensor:
    """Return P^T delta at every position, (B, r, H, W), for delta (B, C_out, H, W) and P (C_out, r)."""
    return torch.conv2d(delta, p.t()[..., None, None])


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


def asymmetric_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    back: Tensor | LowRank,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return W * x + b; autograd returns the error at x through ``back``.

    Args:
        x: (B, C_in, H, W).
        weight: (C_out, C_in / groups, k, k), W.
        bias: (C_out,) or None.
        back: return weights, shaped as ``weight``; or their factors.
        stride: step between positions, pixels; one number or two.
        padding: zeros added on every side, pixels; one number or two; or ``same`` or ``valid``.
        dilation: distance between kernel elements, pixels; one number or two.
        groups: groups of channels that are convolved separately.

    Returns:
        (B, C_out, H', W').

    Raises:
        NeurofaError: factors for a convolution of several groups.
    """
    if isinstance(back, LowRank):
        refuse_groups(groups)
    stride, dilation = _pair(stride), _pair(dilation)
    x, padding = _padded(x, weight, padding, dilation)
    sizes = (stride, padding, dilation, groups)
    y: Tensor = _Conv2d.apply(x, weight, bias, *_factors(back), sizes)  # type: ignore[no-untyped-call]
    return y


def refuse_groups(groups: int) -> None:
    """Refuse return weights of low rank for a convolution of several groups.

    Raises:
        NeurofaError: more than one group.
    """
    if groups != 1:
        raise NeurofaError(
            f"got feedback of low rank for a convolution of {groups} groups; expected one group, whose channels share"
            " the r channels; use kp, or a network without groups"
        )


def _factors(back: Tensor | LowRank) -> tuple[Tensor, Tensor | None]:
    return (back.q, back.p) if isinstance(back, LowRank) else (back, None)


def _pair(n: Any) -> list[int]:
    return [int(n)] * 2 if isinstance(n, int) else [int(i) for i in n]


def _padded(x: Tensor, weight: Tensor, padding: Any, dilation: list[int]) -> tuple[Tensor, list[int]]:
    """Return the input and the zeros that are still to be added on both sides; an uneven padding is added here.

    Args:
        x: (B, C_in, H, W).
        weight: (C_out, C_in / groups, k, k).
        padding: pixels, or ``same`` or ``valid``.
        dilation: distance between kernel elements.
    """
    if not isinstance(padding, str):
        return x, _pair(padding)
    if padding == "valid":
        return x, [0, 0]
    total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    before = [n // 2 for n in total]
    if all(n % 2 == 0 for n in total):
        return x, before
    behind = [n - m for n, m in zip(total, before, strict=True)]
    return functional.pad(x, (before[1], behind[1], before[0], behind[0])), [0, 0]


def _bound(names: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(names.split(), args, strict=False)) | dict(kwargs)


class Affines(TorchFunctionMode):
    """Torch mode in which a function ``visit`` computes the output of every affine operation with a watched weight.

    Args:
        watched: weights by name; an operation is recognised by the identity of its weight.
        visit: called with the weight's name, the operation (``"linear"``, ``"conv2d"`` or ``"scale"``) and its
            arguments by name.
    """

    def __init__(self, watched: Mapping[str, Tensor], visit: Callable[[str, str, dict[str, Any]], Tensor]) -> None:
        super().__init__()
        self.names = {id(weight): name for name, weight in watched.items()}
        self.visit = visit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            call = _bound("input weight bias", args, kwargs)
            if id(call["weight"]) in self.names:
                return self.visit(self.names[id(call["weight"])], "linear", call)
        elif func is torch.conv2d:
            call = _bound("input weight bias stride padding dilation groups", args, kwargs)
            if id(call["weight"]) in self.names:
                return self.visit(self.names[id(call["weight"])], "conv2d", call)
        elif func in _NORMS:
            call = _bound(_NORMS[func], args, kwargs)
            weight = call.get("weight")
            if weight is not None and id(weight) in self.names:
                # split into normalisation without gain, gain, and shift: only the gain has a return weight
                bias = call.pop("bias", None)
                plain = func(**(call | {"weight": None}))
                shape = (-1, *[1] * (plain.dim() - 2)) if func is not functional.layer_norm else weight.shape
                y = self.visit(self.names[id(weight)], "scale", {"input": plain, "weight": weight, "shape": shape})
                return y if bias is None else y + bias.reshape(shape)
        return func(*args, **kwargs)


_NORMS: dict[Any, str] = {
    functional.layer_norm: "input normalized_shape weight bias eps",
    functional.batch_norm: "input running_mean running_var weight bias training momentum eps",
    functional.group_norm: "input num_groups weight bias eps",
}


def returning_mode(params: Mapping[str, Tensor], returns: ReturnWeights, inner: dict[str, Tensor]) -> Affines:
    """Return a mode in which every affine operation with a weight of ``params`` returns its error through ``returns``.

    Args:
        params: forward weights by name.
        returns: return weights by the name of the forward weight.
        inner: filled, whenever an error passes the graph, with the error at the output of every affine map, by weight.
    """

    def noted(name: str, y: Tensor) -> Tensor:
        def note(error: Tensor) -> None:
            inner[name] = error

        y.register_hook(note)  # type: ignore[no-untyped-call]
        return y

    def visit(name: str, op: str, call: dict[str, Any]) -> Tensor:
        x, weight, back = call["input"], call["weight"], returns[name]
        if op == "linear":
            return noted(name, asymmetric_linear(x, weight, call.get("bias"), back))
        if op == "conv2d":
            sizes = {k: call[k] for k in ("stride", "padding", "dilation", "groups") if k in call}
            return noted(name, asymmetric_conv2d(x, weight, call.get("bias"), back, **sizes))
        assert isinstance(back, Tensor)
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


def correlation_conv2d(
    y: Tensor, noise: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Tensor:
    """Return the mean of y xi^T over samples and positions, (C_out, C_in / groups, k, k).

    Every element of a kernel is averaged over the positions at which it lies on the image: padding holds no noise, and
    would make the mean at the border of a kernel too small.

    Args:
        y: (B, C_out, H', W') output for the noise.
        noise: (B, C_in, H, W), xi.
        weight: kernel; only its shape is used.
        stride: step between positions, pixels.
        padding: zeros added on every side, pixels.
        dilation: distance between kernel elements, pixels.
        groups: groups of channels that are convolved separately.
    """
    # the weight gradient of a convolution, with y in the place of the error, is the sum of y xi^T
    total: Tensor = aten.convolution_backward(
        y, noise, weight, None, stride, padding, dilation, False, [0, 0], groups, [False, True, False]
    )[1]
    if not any(padding):
        return total / (y.numel() // y.shape[1])
    rows, columns = (
        _inside(
            y.shape[axis],
            noise.shape[axis],
            weight.shape[axis],
            stride[axis - 2],
            padding[axis - 2],
            dilation[axis - 2],
            y.device,
        )
        for axis in (2, 3)
    )
    counts = rows.to(total).unsqueeze(1) * columns.to(total)
    return total / (counts.clamp_(min=1) * y.shape[0])


def _inside(
    outputs: int, inputs: int, size: int, stride: int, padding: int, dilation: int, where: torch.device
) -> Tensor:
    """Return the number of positions at which each element of a kernel lies on the image, along one axis, (size,)."""
    at = torch.arange(outputs, device=where).mul_(stride).sub_(padding).unsqueeze(1)
    at = at + torch.arange(size, device=where).mul_(dilation)
    return ((at >= 0) & (at < inputs)).sum(0)


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
        if op == "linear":
            y = functional.linear(noise, weight)
            correlations[name] = correlation_linear(y, noise)
            return y
        stride, dilation = (_pair(call.get(key, 1)) for key in ("stride", "dilation"))
        noise, padding = _padded(noise, weight, call.get("padding", 0), dilation)
        groups = int(call.get("groups", 1))
        y = torch.conv2d(noise, weight, None, stride, padding, dilation, groups)
        correlations[name] = correlation_conv2d(y, noise, weight, stride, padding, dilation, groups)
        return y

    return Affines({name: params[name] for name in names}, visit)
