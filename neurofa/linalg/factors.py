"""Factors of small rank: non-negative ones of a matrix, singular ones of a convolution that is never written out."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.grad import conv2d_input

from neurofa.core.window import Window

TINY = 1e-12


def nonnegative(
    v: Tensor, rank: int, gen: torch.Generator, *, right: Tensor | None = None, steps: int = 300
) -> tuple[Tensor, Tensor]:
    """V ~ U W^T with U, W >= 0 by multiplicative updates, which never raise ||V - U W^T||_F.

    U <- U * (V W) / (U W^T W), and the same for W. Columns come out with equal norms on both sides where W is free.

    Args:
        v: (a, b), non-negative.
        rank: columns of the factors.
        gen: source of the start, on the CPU.
        right: (b, rank), non-negative: W, which is then kept.
        steps: updates of each factor.

    Returns:
        U (a, rank) and W (b, rank), in the dtype of V.

    Source: Lee and Seung 2001, NIPS 13, eq. 4.
    """

    def start(rows: int) -> Tensor:
        return torch.rand(rows, rank, generator=gen, dtype=v.dtype).add_(TINY)

    u, w = start(len(v)), start(v.shape[1]) if right is None else right
    for _ in range(steps):
        u = u * (v @ w) / (u @ (w.t() @ w)).add_(TINY)
        if right is None:
            w = w * (v.t() @ u) / (w @ (u.t() @ u)).add_(TINY)
    if right is None:
        balance = (w.norm(dim=0) / u.norm(dim=0).clamp_min(TINY)).sqrt()
        u, w = u * balance, w / balance.clamp_min(TINY)
    return u, w


class Convolution:
    """The matrix T(k) of a convolution, applied without being written out.

    Args:
        kernel: (C_out, C_in, k, k), float64.
        window: with side k.
        in_shape: (C_in, H, W).
        out_shape: (C_out, H', W').
    """

    def __init__(
        self, kernel: Tensor, window: Window, in_shape: tuple[int, ...], out_shape: tuple[int, ...]
    ) -> None:  # fmt: skip
        self.kernel, self.window, self.in_shape, self.out_shape = kernel, window, in_shape, out_shape

    def times(self, columns: Tensor) -> Tensor:
        """T X: (n_in, r) to (n_out, r)."""
        images = columns.t().reshape(-1, *self.in_shape)
        sent = torch.nn.functional.conv2d(images, self.kernel, None, self.window.stride, self.window.padding)
        return sent.flatten(1).t()

    def transposed(self, columns: Tensor) -> Tensor:
        """T^T Y: (n_out, r) to (n_in, r)."""
        images = columns.t().reshape(-1, *self.out_shape)
        size = (len(images), *self.in_shape)
        back: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
            size, self.kernel, images, self.window.stride, self.window.padding
        )
        return back.flatten(1).t()

    def singular(self, rank: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        """U sqrt(S) and V sqrt(S) of the ``rank`` largest singular values, by the Lanczos method.

        Args:
            rank: r; columns beyond the matrix's smaller side are zero.
            gen: source of the first vector, on the CPU.

        Returns:
            (n_out, r) and (n_in, r).
        """
        from scipy.sparse.linalg import LinearOperator, svds

        n_out, n_in = math.prod(self.out_shape), math.prod(self.in_shape)
        if rank >= min(n_out, n_in):
            dense = self.times(torch.eye(n_in, dtype=self.kernel.dtype))
            u, s, vt = torch.linalg.svd(dense, full_matrices=False)
        else:
            start = torch.randn(min(n_out, n_in), generator=gen, dtype=self.kernel.dtype)
            operator = LinearOperator(
                (n_out, n_in), dtype="float64",
                matvec=lambda x: self.times(torch.from_numpy(x).view(-1, 1)).flatten().numpy(),
                rmatvec=lambda y: self.transposed(torch.from_numpy(y).view(-1, 1)).flatten().numpy(),
            )  # fmt: skip
            u, s, vt = (torch.from_numpy(part.copy()) for part in svds(operator, k=rank, v0=start.numpy()))
        root, missing = s.sqrt(), rank - len(s)
        left, right = u * root, vt.t() * root
        return torch.nn.functional.pad(left, (0, missing)), torch.nn.functional.pad(right, (0, missing))
