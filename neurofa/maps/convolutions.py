"""Convolutions in any number of dimensions, plain and transposed: product, derivatives, return weights.

A transposed convolution (``ConvTranspose``) is the map whose transpose is a convolution: with the same kernels it takes
the small image to the large one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from neurofa.core.directions import LowRank

aten = torch.ops.aten

_PLAIN = "input weight bias stride padding dilation groups"
_TRANSPOSED = "input weight bias stride padding output_padding groups dilation"
CONVOLUTIONS: dict[Any, tuple[int, str]] = {
    **{f: (n, _PLAIN) for n, f in enumerate((torch.conv1d, torch.conv2d, torch.conv3d), start=1)},
    **{
        f: (n, _TRANSPOSED)
        for n, f in enumerate((torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), start=1)
    },
}
"""Number of axes of an image, and names of the arguments, of torch's functions."""


@dataclass(frozen=True)
class ConvSizes:
    """Sizes of a convolution of images of n axes; n numbers each, in pixels."""

    stride: tuple[int, ...]
    """Steps between positions."""
    padding: tuple[int, ...]
    """Zeros on both sides."""
    dilation: tuple[int, ...]
    """Distances between kernel elements."""
    groups: int = 1
    """Groups of channels that are convolved separately."""
    transposed: bool = False
    """Whether the map is the transpose of a convolution."""
    output_padding: tuple[int, ...] = ()
    """Pixels added behind the output of a transposed convolution."""

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return W * x + b, (B, C_out, ...).

        Args:
            x: (B, C_in, ...).
            weight: (C_out, C_in / groups, ...); transposed (C_in, C_out / groups, ...).
            bias: (C_out,) or None.
        """
        return torch.convolution(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self._behind,
            self.groups,
        )

    def backward(self, delta: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> Any:
        """Return the error at the input and the directions of weight and bias; None where it is not ``wanted``.

        Args:
            delta: (B, C_out, ...) error at the output.
            x: (B, C_in, ...).
            weight: shaped as W; the weight of the return path.
            wanted: which of the three are computed.
        """
        return aten.convolution_backward(
            delta,
            x,
            weight,
            [delta.shape[1]],
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self._behind,
            self.groups,
            wanted,
        )

    @property
    def _behind(self) -> tuple[int, ...]:
        return self.output_padding or (0,) * len(self.stride)

    def rows(self, x: Tensor, y: Tensor) -> int:
        """Return the number of vectors that the matrix multiplies: positions of the image that is not summed over."""
        small = x if self.transposed else y
        return small.numel() // small.shape[1]


class ConvCall(NamedTuple):
    """One call of a torch convolution: batched input, with uneven padding already added, and sizes."""

    x: Tensor
    sizes: ConvSizes
    single: bool
    """Whether the call had one image without a batch axis."""


def conv_call(func: Any, call: Mapping[str, Any]) -> ConvCall:
    """Return the input and the sizes of a call of one of ``CONVOLUTIONS``.

    Args:
        func: the function.
        call: its arguments by name.
    """
    n, names = CONVOLUTIONS[func]
    x, weight = call["input"], call["weight"]
    single = x.dim() == n + 1
    if single:
        x = x.unsqueeze(0)
    stride, dilation = (axes(call.get(key, 1), n) for key in ("stride", "dilation"))
    groups = int(call.get("groups", 1))
    if names is _TRANSPOSED:
        padding, behind = (axes(call.get(key, 0), n) for key in ("padding", "output_padding"))
        return ConvCall(x, ConvSizes(stride, padding, dilation, groups, True, behind), single)
    x, padding = _padded(x, weight, call.get("padding", 0), dilation)
    return ConvCall(x, ConvSizes(stride, padding, dilation, groups), single)


def axes(sizes: Any, n: int) -> tuple[int, ...]:
    """Return one number for each of n axes."""
    if isinstance(sizes, int):
        return (sizes,) * n
    found = tuple(int(size) for size in sizes)
    return found * n if len(found) == 1 else found


def _padded(x: Tensor, weight: Tensor, padding: Any, dilation: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """Return the input and the zeros that are still to be added on both sides; an uneven padding is added here.

    Args:
        x: (B, C_in, ...).
        weight: (C_out, C_in / groups, ...).
        padding: pixels, or ``same`` or ``valid``.
        dilation: distances between kernel elements.
    """
    n = len(dilation)
    if not isinstance(padding, str):
        return x, axes(padding, n)
    if padding == "valid":
        return x, (0,) * n
    total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    before = tuple(size // 2 for size in total)
    if all(size % 2 == 0 for size in total):
        return x, before
    # torch counts axes from the last one
    ends = zip(reversed(total), reversed(before), strict=True)
    pads = [side for size, first in ends for side in (first, size - first)]
    return nn.functional.pad(x, pads), (0,) * n


class _Convolution(torch.autograd.Function):
    """y = W * x + b; the error at x is that of the same map with B (or factors P and Q, B = P Q) in the place of W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *returning: Any) -> Tensor:
        back, narrow, ctx.sizes = returning
        ctx.save_for_backward(x, back, narrow)
        y: Tensor = ctx.sizes.product(x, weight, bias)
        return y

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor | None, ...]:
        x, back, narrow = ctx.saved_tensors
        delta, wanted = deltas[0], list(ctx.needs_input_grad[:3])
        sizes: ConvSizes = ctx.sizes
        if narrow is None:
            return *sizes.backward(delta, x, back, wanted), None, None, None
        # with factors the error at x and the directions need different deltas: two calls
        own = delta.new_empty(1).expand(delta.shape[1], *back.shape[1:])  # only its shape is used
        _, d_w, d_b = sizes.backward(delta, x, own, [False, *wanted[1:]])
        d_x = sizes.backward(narrowed(delta, narrow), x, back, [True, False, False])[0] if wanted[0] else None
        return d_x, d_w, d_b, None, None, None


def returning_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, back: Tensor | LowRank, sizes: ConvSizes
) -> Tensor:
    """Return W * x + b; autograd returns the error at x through ``back``.

    Args:
        x: (B, C_in, ...).
        weight: W.
        bias: (C_out,) or None.
        back: return weights, shaped as ``weight``; or their factors.
        sizes: of the convolution.

    Returns:
        (B, C_out, ...).

    Raises:
        NeurofaError: factors for a convolution of several groups, or for a transposed one.
    """
    factors: tuple[Tensor, Tensor | None] = (back, None) if isinstance(back, Tensor) else (back.q, back.p)
    if factors[1] is not None:
        refuse_factors(sizes.groups, transposed=sizes.transposed)
    y: Tensor = _Convolution.apply(x, weight, bias, *factors, sizes)  # type: ignore[no-untyped-call]
    return y


def refuse_factors(groups: int, *, transposed: bool = False) -> None:
    """Refuse return weights of low rank for a convolution of several groups, or for a transposed one.

    Raises:
        NeurofaError: more than one group, or a transposed convolution.
    """
    if groups != 1:
        raise NeurofaError(
            f"got feedback of low rank for a convolution of {groups} groups; expected one group, whose channels share"
            " the r channels; use kp, or a network without groups"
        )
    if transposed:
        raise NeurofaError(
            "got feedback of low rank for a transposed convolution, whose first axis are inputs; expected a map whose"
            " outputs are narrowed to r channels; use kp, or resize and convolve"
        )


def narrowed(delta: Tensor, p: Tensor) -> Tensor:
    """Return P^T delta at every position, (B, r, ...), for delta (B, C_out, ...) and P (C_out, r)."""
    n = delta.dim() - 2
    sizes = ConvSizes((1,) * n, (0,) * n, (1,) * n)
    return sizes.product(delta, p.t()[(..., *[None] * n)])


def conv_correlation(y: Tensor, noise: Tensor, weight: Tensor, sizes: ConvSizes) -> Tensor:
    """Return the mean of y xi^T over samples and positions, shaped as the weight.

    Every element of a kernel is averaged over the positions at which it lies on the image: padding holds no noise, and
    would make the mean at the border of a kernel too small.

    Args:
        y: (B, C_out, ...) output for the noise.
        noise: (B, C_in, ...), xi.
        weight: kernel; only its shape is used.
        sizes: of the convolution.
    """
    # the weight gradient of a convolution, with y in the place of the error, is the sum of y xi^T
    total: Tensor = sizes.backward(y, noise, weight, [False, True, False])[1]
    small, large = (noise, y) if sizes.transposed else (y, noise)
    if not (any(sizes.padding) or sizes.transposed):
        return total / (y.numel() // y.shape[1])
    counts = total.new_ones(())
    for axis, (stride, padding, dilation) in enumerate(
        zip(sizes.stride, sizes.padding, sizes.dilation, strict=True), start=2
    ):
        at = torch.arange(small.shape[axis], device=y.device).mul_(stride).sub_(padding).unsqueeze(1)
        at = at + torch.arange(weight.shape[axis], device=y.device).mul_(dilation)
        inside = ((at >= 0) & (at < large.shape[axis])).sum(0)
        counts = counts.unsqueeze(-1) * inside.to(total)
    return total / (counts.clamp_(min=1) * y.shape[0])
