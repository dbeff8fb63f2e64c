"""Voltage loss along the wires of a crossbar."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def wire_loss(
    v: Tensor,
    w: Tensor,
    size: Tensor,
    top: Tensor,
    ratio: float,
    mm: Callable[[Tensor, Tensor], Tensor] = torch.mm,
) -> Tensor:
    """Return the part of a product that the resistance of the wires takes, in closed form.

    a_i = (n / gamma) sum_j |w_ij| |v_j|, c_i = a_i (0.05 a_i^2 - 0.2 a_i + 0.5),
    loss_i = c_i sum_j w_ij v_j (1 - (1 - j/n)^2), j = 0 ... n-1, with w in units of the largest weight.

    Args:
        v: (B, n), inputs, full scale 1.
        w: (n, n_out), any unit, in a dtype that ``mm`` takes.
        size: (n, n_out), |w|, in the same dtype.
        top: the largest weight, 0-dim, in the unit of ``w``.
        ratio: gamma, conductance of a wire piece over that of a cell.
        mm: the matrix product.

    Returns:
        (B, n_out), to be subtracted from the ideal product, in units of the largest weight.

    Source: Rasch et al. 2019, arXiv 1906.02698 (approximation of the voltage drop), as coded in aihwkit.
    """
    n = len(w)
    a = mm(v.abs(), size).mul_(n / ratio / top)
    place = torch.linspace(1, 1 / n, n, device=v.device, dtype=v.dtype).square_().neg_().add_(1)
    c = torch.addcmul(a * 0.5, a.square(), 0.05 * a - 0.2)
    return mm(v * place, w).mul_(c).div_(top)
