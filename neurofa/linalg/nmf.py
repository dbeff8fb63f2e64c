"""Non-negative matrix factorisation.

scikit-learn's ``NMF(solver="mu")`` takes the same steps; ours stays because it starts from the run's torch generator,
can hold one factor fixed, and spares neurofa a dependency that it has nowhere else.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-12
"""Added to starts and denominators: an entry that is zero can never grow again."""


def nonnegative_factors(
    v: Tensor, rank: int, gen: torch.Generator, *, right: Tensor | None = None, steps: int = 300
) -> tuple[Tensor, Tensor]:
    """Factor V ~ U W^T with U, W >= 0 by multiplicative updates, which never raise ||V - U W^T||_F.

    U <- U * (V W) / (U W^T W), and the same for W. Where W is free, columns of U and W end with equal norms.

    Args:
        v: (a, b), non-negative.
        rank: columns of the factors.
        gen: source of the start, on the CPU.
        right: (b, rank), non-negative: W, which is then held fixed.
        steps: updates of each factor.

    Returns:
        U (a, rank) and W (b, rank), in the dtype of V.

    Source: Lee and Seung 2001, NIPS 13, eq. 4.
    """

    def initial(rows: int) -> Tensor:
        return torch.rand(rows, rank, generator=gen, dtype=v.dtype).add_(TINY)

    u, w = initial(len(v)), initial(v.shape[1]) if right is None else right
    for _ in range(steps):
        u = u * (v @ w) / (u @ (w.t() @ w)).add_(TINY)
        if right is None:
            w = w * (v.t() @ u) / (w @ (u.t() @ u)).add_(TINY)
    # U W^T does not change when a column of U is multiplied and that of W divided by one number
    if right is None:
        balance = (w.norm(dim=0) / u.norm(dim=0).clamp_min(TINY)).sqrt()
        u, w = u * balance, w / balance.clamp_min(TINY)
    return u, w
