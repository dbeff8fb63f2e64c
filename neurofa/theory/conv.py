"""Convolutions as matrices: how far a shared, local kernel can align with a feedback that knows nothing of either.

A convolution is the matrix T(k) (n_out, n_in), n = C P with P positions: block-Toeplitz, zero outside of the windows.
Strong weight alignment asks W_l ∝ F_l F_{l-1}^T. The T(k) of all kernels k form a linear space, in which the unit
matrices T(k_j) / sqrt(m_j) of the taps j = (c_out, c_in, dy, dx) are orthonormal (m_j: positions at which tap j lies
inside the image). So the kernel that is nearest to a matrix M is

    k_j = <T_j, M> / m_j,    cos(T(k), M) = sqrt(sum_j <T_j, M>^2 / m_j) / ||M||_F.

For M = F_l F_{l-1}^T with independent zero-mean entries in F every <T_j, M>^2 / m_j is E M_ab^2 on average, and there
are C_out C_in k^2 of them among the C_out C_in P_out P_in entries of M:

    root mean square cosine of the best kernel = k / sqrt(P_in P_out)        (every tap somewhere inside the image).

Of the two restrictions, locality alone costs less: a layer with kernels of its own at every position reaches the share
of M that lies in its windows, k / sqrt(P_in) without padding. So does a convolution whose feedback has one row for each
channel, the same everywhere: shared rows fit shared kernels, and locality is all that is missing.

Sources: the argument is that of Refinetti et al. 2021, arXiv 2011.12428 (abstract; the section itself was not read);
the two formulas are derived here and checked numerically in the tests.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.grad import conv2d_weight

from hwmodels.errors import NeurofaError
from neurofa.core.window import Window

Image = tuple[int, int, int]
"""C, H, W."""


class Projection(NamedTuple):
    """The kernel whose matrix is nearest to F_l F_{l-1}^T."""

    kernel: Tensor
    """(C_out, C_in, k, k), float64."""
    cosine: float
    """cos(T(kernel), F_l F_{l-1}^T): no kernel has a larger one; NaN where the product is zero."""


def unrolled(kernel: Tensor, window: Window, in_shape: Image) -> Tensor:
    """T(k), dense: what the convolution is as a matrix on flattened images. For small images.

    Args:
        kernel: (C_out, C_in, k, k).
        window: with side k.
        in_shape: (C_in, H, W).

    ReturnWeights:
        (C_out H' W', C_in H W).
    """
    n = math.prod(in_shape)
    units = torch.eye(n, dtype=kernel.dtype).view(n, *in_shape)
    images = torch.nn.functional.conv2d(units, kernel, None, window.stride, window.padding)
    return images.flatten(1).t()


def taps(window: Window, in_shape: Image, out_shape: Image) -> Tensor:
    """m: at how many output positions each tap of a kernel lies inside the input, (k, k), float64."""
    ones = torch.ones(1, 1, *in_shape[1:], dtype=torch.float64)
    seen = torch.ones(1, 1, *out_shape[1:], dtype=torch.float64)
    return _inner(ones, seen, window)[0, 0]


def _inner(x: Tensor, delta: Tensor, window: Window) -> Tensor:
    """Sum over samples and positions of delta x^T at every tap: the direction of a kernel, (C_out, C_in, k, k)."""
    size = (delta.shape[1], x.shape[1], window.side, window.side)
    found: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
        x, size, delta, window.stride, window.padding
    )
    return found


def _images(feedback: Tensor, shape: Image) -> Tensor:
    """The columns of F as images: (o, C, H, W), float64."""
    return feedback.detach().double().t().reshape(-1, *shape)


def product_norm(left: Tensor, right: Tensor) -> float:
    """||F_l F_{l-1}^T||_F from the (o, o) Gram matrices, without the product itself.

    Args:
        left: F_l, (n_l, o).
        right: F_{l-1}, (n_{l-1}, o).
    """
    a, b = left.detach().double(), right.detach().double()
    return math.sqrt(max(0.0, float(((a.t() @ a) * (b.t() @ b)).sum())))


def project(left: Tensor, right: Tensor, window: Window, in_shape: Image, out_shape: Image) -> Projection:
    """The nearest kernel to F_l F_{l-1}^T, found as the direction of a kernel for o samples: no large matrix is made.

    Args:
        left: F_l, (C_out H' W', o).
        right: F_{l-1}, (C_in H W, o).
        window: of the convolution.
        in_shape: (C_in, H, W).
        out_shape: (C_out, H', W').
    """
    _check(left, right, in_shape, out_shape)
    m = taps(window, in_shape, out_shape)
    inner = _inner(_images(right, in_shape), _images(left, out_shape), window)
    size = product_norm(left, right)
    reached = inner.square() / m.clamp_min(1)
    return Projection(inner / m.clamp_min(1), math.sqrt(float(reached.sum())) / size if size > 0 else math.nan)


def kernel_alignment(
    kernel: Tensor, left: Tensor, right: Tensor, window: Window, in_shape: Image, out_shape: Image
) -> float:
    """Weight alignment of a convolution, cos(T(k), F_l F_{l-1}^T); NaN where either is zero.

    Args:
        kernel: (C_out, C_in, k, k).
        left: F_l, (C_out H' W', o).
        right: F_{l-1}, (C_in H W, o).
        window: of the convolution.
        in_shape: (C_in, H, W).
        out_shape: (C_out, H', W').
    """
    _check(left, right, in_shape, out_shape)
    k = kernel.detach().double()
    inner = _inner(_images(right, in_shape), _images(left, out_shape), window)
    size = math.sqrt(float((k.square() * taps(window, in_shape, out_shape)).sum())) * product_norm(left, right)
    return float((k * inner).sum()) / size if size > 0 else math.nan


def random_bound(window: Window, in_shape: Image, out_shape: Image) -> float:
    """Root mean square cosine of the best kernel with a random feedback: k / sqrt(P_in P_out).

    Args:
        window: of the convolution.
        in_shape: (C_in, H, W).
        out_shape: (C_out, H', W').
    """
    reached = int((taps(window, in_shape, out_shape) > 0).sum())
    return math.sqrt(reached / (math.prod(in_shape[1:]) * math.prod(out_shape[1:])))


def local_bound(window: Window, in_shape: Image, out_shape: Image) -> float:
    """Square root of the share of all pairs of positions that the windows connect: k / sqrt(P_in) without padding.

    Root mean square cosine of the best locally connected layer with a random feedback, and exactly the cosine of the
    best kernel with one row of feedback for each channel.

    Args:
        window: of the convolution.
        in_shape: (C_in, H, W).
        out_shape: (C_out, H', W').
    """
    seen = float(taps(window, in_shape, out_shape).sum())
    return math.sqrt(seen / (math.prod(in_shape[1:]) * math.prod(out_shape[1:])))


def _check(left: Tensor, right: Tensor, in_shape: Image, out_shape: Image) -> None:
    wanted = (math.prod(out_shape), math.prod(in_shape))
    if (len(left), len(right)) != wanted or left.shape[1:] != right.shape[1:]:
        raise NeurofaError(
            f"got feedback of shapes {tuple(left.shape)} and {tuple(right.shape)}; expected ({wanted[0]}, o) and"
            f" ({wanted[1]}, o) for images {out_shape} and {in_shape}; check the layers"
        )
