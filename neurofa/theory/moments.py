"""Second moments of a task with inputs x and outputs y."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Uncentred second moments of a task, float64."""

    yx: Tensor
    """S^yx = E y x^T, (m, n)."""
    xx: Tensor
    """S^xx = E x x^T, (n, n)."""
    yy: Tensor
    """S^yy = E y y^T, (m, m)."""

    @classmethod
    def white(cls, teacher: Tensor) -> Moments:
        """Return the moments of y = A x with white x; ``teacher`` is A, (m, n)."""
        a = teacher.double()
        return cls(yx=a, xx=torch.eye(a.shape[1], dtype=torch.float64), yy=a @ a.t())

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Moments:
        """Return the means of y x^T, x x^T and y y^T over samples x (N, n) and y (N, m); classes are one-hot y."""
        x, y = x.detach().double(), y.detach().double()
        return cls(yx=y.t() @ x / len(x), xx=x.t() @ x / len(x), yy=y.t() @ y / len(x))

    def modes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the singular value decomposition of S^yx: U (m, d), s (d,) decreasing, V^T (d, n); d = min(m, n)."""
        u, s, vt = torch.linalg.svd(self.yx, full_matrices=False)
        return u, s, vt
