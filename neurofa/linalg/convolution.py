"""Convolutions as matrices T(k) on flattened images: dense for small images, else applied without being written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad
from torch.nn.grad import conv2d_input

from neurofa.core.window import Window


@dataclass(frozen=True)
class ConvGeometry:
    """Window and image shapes of a convolution with kernels of k x k pixels."""

    window: Window
    """Its side is k."""
    in_shape: tuple[int, ...]
    """(C_in, H, W)."""
    out_shape: tuple[int, ...]
    """(C_out, H', W')."""

    @property
    def position_pairs(self) -> int:
        """P_in P_out: pairs of an input and an output position."""
        return math.prod(self.in_shape[1:]) * math.prod(self.out_shape[1:])


def dense_convolution(kernel: Tensor, window: Window, in_shape: tuple[int, ...]) -> Tensor:
    """Return the matrix T(k) of a convolution with kernel k, which maps flattened images; for small images.

    Args:
        kernel: (C_out, C_in, k, k).
        window: with side k.
        in_shape: (C_in, H, W).

    Returns:
        (C_out H' W', C_in H W).
    """
    n = math.prod(in_shape)
    units = torch.eye(n, dtype=kernel.dtype).view(n, *in_shape)
    return conv2d(units, kernel, None, window.stride, window.padding).flatten(1).t()


@dataclass(frozen=True, eq=False)
class ConvolutionOperator:
    """The matrix T(k) of a convolution, applied without being written out."""

    kernel: Tensor
    """(C_out, C_in, k, k), float64."""
    geometry: ConvGeometry

    def times(self, columns: Tensor) -> Tensor:
        """Return the product T X, (n_out, r), for X (n_in, r), whose columns are flattened images."""
        images = columns.t().reshape(-1, *self.geometry.in_shape)
        window = self.geometry.window
        return conv2d(images, self.kernel, None, window.stride, window.padding).flatten(1).t()

    def transposed_times(self, columns: Tensor) -> Tensor:
        """Return the transposed product T^T Y, (n_in, r), for Y (n_out, r), whose columns are flattened images."""
        images = columns.t().reshape(-1, *self.geometry.out_shape)
        size, window = (len(images), *self.geometry.in_shape), self.geometry.window
        pulled: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
            size, self.kernel, images, window.stride, window.padding
        )
        return pulled.flatten(1).t()

    def singular_factors(self, rank: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return U sqrt(S) and V sqrt(S) of T = U S V^T for the largest singular values, by the Lanczos method.

        Args:
            rank: r, number of singular values; columns beyond the matrix's smaller side are zero.
            gen: source of the first vector, on the CPU.

        Returns:
            (n_out, r) and (n_in, r).
        """
        from scipy.sparse.linalg import LinearOperator, svds

        n_out, n_in = math.prod(self.geometry.out_shape), math.prod(self.geometry.in_shape)
        # the Lanczos method finds fewer singular values than the smaller side has
        if rank >= min(n_out, n_in):
            u, s, vt = torch.linalg.svd(self.times(torch.eye(n_in, dtype=self.kernel.dtype)), full_matrices=False)
        else:
            start = torch.randn(min(n_out, n_in), generator=gen, dtype=self.kernel.dtype)
            matvec, rmatvec = _on_vectors(self.times), _on_vectors(self.transposed_times)
            operator = LinearOperator((n_out, n_in), matvec=matvec, rmatvec=rmatvec, dtype="float64")
            u, s, vt = (torch.from_numpy(part.copy()) for part in svds(operator, k=rank, v0=start.numpy()))
        root, missing = s.sqrt(), rank - len(s)
        return pad(u * root, (0, missing)), pad(vt.t() * root, (0, missing))


def _on_vectors(product: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    """Return a product with columns as a product with one numpy vector."""
    return lambda x: product(torch.from_numpy(x).view(-1, 1)).flatten().numpy()
