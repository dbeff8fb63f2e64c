"""What the singular values of a matrix say: ranks, conditioning, nearness to a multiple of the identity.

All functions work in float64 and return NaN where the quantity is not defined (a matrix of zeros).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NONE = math.nan


def singular_values(m: Tensor) -> Tensor:
    """Singular values s_1 >= s_2 >= ... of a matrix (a, b), float64: (min(a, b),)."""
    values: Tensor = torch.linalg.svdvals(m.detach().double())
    return values


def stable_rank(m: Tensor) -> float:
    """||M||_F^2 / ||M||_2^2: between 1 and rank M, insensitive to small singular values.

    Args:
        m: (a, b).
    """
    return ranks(m)[0]


def effective_rank(m: Tensor) -> float:
    """exp(-sum_i p_i ln p_i) with p_i = s_i / sum s: the entropy of the singular values as a number of directions.

    Args:
        m: (a, b).

    Source: Roy and Vetterli 2007, EUSIPCO.
    """
    return ranks(m)[1]


def ranks(m: Tensor) -> tuple[float, float]:
    """Stable and effective rank of a matrix (a, b), from one decomposition."""
    s = singular_values(m)
    if not len(s) or not float(s[0]) > 0:
        return NONE, NONE
    p = s / s.sum()
    return float((s / s[0]).square().sum()), float(torch.special.entr(p).sum().exp())


def conditioning(m: Tensor) -> float:
    """s_max / s_min; infinite for a matrix without full rank.

    Args:
        m: (a, b).
    """
    s = singular_values(m)
    if not len(s) or not float(s[0]) > 0:
        return NONE
    return float(s[0] / s[-1]) if float(s[-1]) > 0 else math.inf


def isotropy(m: Tensor) -> float:
    """tr(A) / (sqrt(n) ||A||_F): 1 if and only if A is a positive multiple of the identity.

    For deep linear nets with F_l^T F_l = I this equals cos(W_l, F_l F_{l-1}^T), the weight alignment.

    Args:
        m: (n, n).
    """
    size = float(torch.linalg.matrix_norm(m.detach().double()))
    return float(m.detach().double().trace()) / (math.sqrt(len(m)) * size) if size > 0 else NONE


def orthogonality(m: Tensor) -> float:
    """||M^T M / c - I||_F with c = tr(M^T M) / b: 0 if and only if the columns are orthogonal and of one length.

    Args:
        m: (a, b).
    """
    gram = m.detach().double().t() @ m.detach().double()
    c = float(gram.trace()) / len(gram)
    return float((gram / c - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).norm()) if c > 0 else NONE


def cosine(a: Tensor, b: Tensor) -> float:
    """<a, b> / (||a|| ||b||) of two tensors of one shape, flattened, in float64."""
    p, q = a.detach().double().flatten(), b.detach().double().flatten()
    size = float(p.norm() * q.norm())
    return float(p @ q) / size if size > 0 else NONE


def mean_cosine(a: Tensor, b: Tensor) -> float:
    """Mean over samples of the cosine between rows; samples whose row is zero on either side count as 0.

    Args:
        a: (B, ...).
        b: (B, ...).
    """
    p, q = a.detach().double().flatten(1), b.detach().double().flatten(1)
    size = p.norm(dim=1) * q.norm(dim=1)
    if not bool((size > 0).any()):
        return NONE
    return float(((p * q).sum(1) / size.clamp_min(torch.finfo(p.dtype).tiny)).mean())
