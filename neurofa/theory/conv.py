"""Convolutions as matrices: how far a shared, local kernel can align with a feedback that is neither.

A convolution is the matrix T(k) (n_out, n_in), n = C P with P positions: block-Toeplitz, zero outside of the windows.
Strong weight alignment demands W_l ∝ F_l F_{l-1}^T. The T(k) of all kernels k form a linear space, in which the unit
matrices T(k_j) / sqrt(m_j) of the taps j = (c_out, c_in, dy, dx) are orthonormal (m_j: positions at which tap j lies
inside the image). So the kernel that is nearest to a matrix M is

    k_j = <T_j, M> / m_j,    cos(T(k), M) = sqrt(sum_j <T_j, M>^2 / m_j) / ||M||_F.

For M = F_l F_{l-1}^T with independent zero-mean entries in F every <T_j, M>^2 / m_j is E M_ab^2 on average, and there
are C_out C_in k^2 of them among the C_out C_in P_out P_in entries of M:

    root mean square cosine of the best kernel = k / sqrt(P_in P_out)        (every tap somewhere inside the image).

Of the two restrictions, locality alone costs less: a layer with kernels of its own at every position reaches the share
of M that lies in its windows, k / sqrt(P_in) without padding. So does a convolution whose feedback has one row for each
channel, the same everywhere: shared rows fit shared kernels, and locality is the only restriction left.

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
from neurofa.linalg.convolution import ConvGeometry


class NearestKernel(NamedTuple):
    """The convolution kernel whose matrix T(k) is nearest to F_l F_{l-1}^T in the Frobenius norm."""

    kernel: Tensor
    """(C_out, C_in, k, k), float64."""
    cosine: float
    """cos(T(kernel), F_l F_{l-1}^T): no kernel has a larger one; NaN where the product is zero."""


def tap_counts(geometry: ConvGeometry) -> Tensor:
    """Return m, at how many output positions each tap of a kernel lies inside the input: (k, k), float64.

    Args:
        geometry: of the convolution.
    """
    inputs = torch.ones(1, 1, *geometry.in_shape[1:], dtype=torch.float64)
    outputs = torch.ones(1, 1, *geometry.out_shape[1:], dtype=torch.float64)
    return _tap_products(inputs, outputs, geometry.window)[0, 0]


def product_norm(left: Tensor, right: Tensor) -> float:
    """Return ||F_l F_{l-1}^T||_F from the (o, o) Gram matrices, without the product itself.

    Args:
        left: F_l, (n_l, o).
        right: F_{l-1}, (n_{l-1}, o).
    """
    # ||A B^T||^2 = tr(A^T A B^T B); rounding may take it below 0
    a, b = left.detach().double(), right.detach().double()
    return math.sqrt(max(0.0, float(((a.t() @ a) * (b.t() @ b)).sum())))


def nearest_kernel(left: Tensor, right: Tensor, geometry: ConvGeometry) -> NearestKernel:
    """Return the convolution kernel k whose matrix T(k) is nearest to F_l F_{l-1}^T in the Frobenius norm.

    Up to its scale it is also the kernel of largest cosine. It is computed as the weight gradient of a convolution,
    with the o columns of F_{l-1} as inputs and those of F_l as errors, so that no large matrix is formed.

    Args:
        left: F_l, (C_out H' W', o).
        right: F_{l-1}, (C_in H W, o).
        geometry: of the convolution.

    Returns:
        The kernel, and the cosine of T(k) and F_l F_{l-1}^T.

    Raises:
        NeurofaError: feedback of other shapes than the images.
    """
    m = tap_counts(geometry)
    products = _feedback_tap_products(left, right, geometry)
    size = product_norm(left, right)
    # a tap that never lies inside the image has m = 0 and a product of 0
    reached = products.square() / m.clamp_min(1)
    return NearestKernel(products / m.clamp_min(1), math.sqrt(float(reached.sum())) / size if size > 0 else math.nan)


def kernel_alignment(kernel: Tensor, left: Tensor, right: Tensor, geometry: ConvGeometry) -> float:
    """Return the weight alignment of a convolution with kernel k, cos(T(k), F_l F_{l-1}^T); NaN for zeros.

    Args:
        kernel: (C_out, C_in, k, k).
        left: F_l, (C_out H' W', o).
        right: F_{l-1}, (C_in H W, o).
        geometry: of the convolution.

    Raises:
        NeurofaError: feedback of other shapes than the images.
    """
    k = kernel.detach().double()
    products = _feedback_tap_products(left, right, geometry)
    size = math.sqrt(float((k.square() * tap_counts(geometry)).sum())) * product_norm(left, right)
    return float((k * products).sum()) / size if size > 0 else math.nan


def random_bound(geometry: ConvGeometry) -> float:
    """Return the root mean square cosine of the best kernel with a random feedback.

    It is k / sqrt(P_in P_out) for a kernel of side k, P_in input and P_out output positions.

    Args:
        geometry: of the convolution.
    """
    reached = int((tap_counts(geometry) > 0).sum())
    return math.sqrt(reached / geometry.position_pairs)


def local_bound(geometry: ConvGeometry) -> float:
    """Return the root of the share of position pairs that the windows connect: k / sqrt(P_in) without padding.

    It is the root mean square cosine of the best locally connected layer with a random feedback, and exactly the cosine
    of the best kernel with one row of feedback for each channel.

    Args:
        geometry: of the convolution; k is the side of its window, P_in the number of input positions.
    """
    return math.sqrt(float(tap_counts(geometry).sum()) / geometry.position_pairs)


def _tap_products(x: Tensor, delta: Tensor, window: Window) -> Tensor:
    """Sum delta x^T over samples and positions at every tap: the direction of a kernel, (C_out, C_in, k, k)."""
    size = (delta.shape[1], x.shape[1], window.side, window.side)
    direction: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
        x, size, delta, window.stride, window.padding
    )
    return direction


def _feedback_tap_products(left: Tensor, right: Tensor, geometry: ConvGeometry) -> Tensor:
    """Return <T_j, F_l F_{l-1}^T> for every tap j, with the o columns of both matrices as samples."""
    rows, columns = math.prod(geometry.out_shape), math.prod(geometry.in_shape)
    if (len(left), len(right)) != (rows, columns) or left.shape[1:] != right.shape[1:]:
        raise NeurofaError(
            f"got feedback of shapes {tuple(left.shape)} and {tuple(right.shape)}; expected ({rows}, o) and"
            f" ({columns}, o) for images {geometry.out_shape} and {geometry.in_shape}; check the layers"
        )
    x, delta = _images(right, geometry.in_shape), _images(left, geometry.out_shape)
    return _tap_products(x, delta, geometry.window)


def _images(feedback: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the columns of F as images: (o, C, H, W), float64."""
    return feedback.detach().double().t().reshape(-1, *shape)
