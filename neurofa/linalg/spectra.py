"""Scalar measures of a matrix: ranks, condition number, nearness to a multiple of the identity, cosines.

All functions work in float64 and return NaN where the measure is not defined (a matrix of zeros). torch.linalg and
scipy have no stable or effective rank; ``torch.nn.functional.cosine_similarity`` returns 0 instead of NaN for a
vanished vector.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

UNDEFINED = math.nan


def ranks(m: Tensor) -> tuple[float, float]:
    """Return the stable and the effective rank of a matrix (a, b).

    The stable rank ||M||_F^2 / ||M||_2^2 lies between 1 and rank M and is insensitive to small singular values. The
    effective rank exp(-sum_i p_i ln p_i), p_i = s_i / sum s, is exp of the entropy of the singular values.

    Source of the effective rank: Roy and Vetterli 2007, EUSIPCO.
    """
    s = torch.linalg.svdvals(m.detach().double())
    if not len(s) or not float(s[0]) > 0:
        return UNDEFINED, UNDEFINED
    p = s / s.sum()
    return float((s / s[0]).square().sum()), float(torch.special.entr(p).sum().exp())


def condition_number(m: Tensor) -> float:
    """Return s_max / s_min of a matrix (a, b); infinite without full rank."""
    return float(torch.linalg.cond(m.detach().double()))


def isotropy(m: Tensor) -> float:
    """Return tr(A) / (sqrt(n) ||A||_F) of a matrix (n, n): 1 if and only if A is a positive multiple of the identity.

    For deep linear nets with F_l^T F_l = I this equals cos(W_l, F_l F_{l-1}^T), the weight alignment.
    """
    a = m.detach().double()
    size = float(torch.linalg.matrix_norm(a))
    return float(a.trace()) / (math.sqrt(len(a)) * size) if size > 0 else UNDEFINED


def orthogonality(m: Tensor) -> float:
    """Return ||M^T M / c - I||_F of a matrix (a, b), c = tr(M^T M) / b.

    It is 0 if and only if the columns of M are orthogonal and of one length.
    """
    gram = m.detach().double().t() @ m.detach().double()
    c = float(gram.trace()) / len(gram)
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return float((gram / c - identity).norm()) if c > 0 else UNDEFINED


def cosine_similarity(a: Tensor, b: Tensor) -> float:
    """Return <a, b> / (||a|| ||b||) of two tensors of one shape, flattened."""
    p, q = a.detach().double().flatten(), b.detach().double().flatten()
    size = float(p.norm() * q.norm())
    return float(p @ q) / size if size > 0 else UNDEFINED


def mean_row_cosine(a: Tensor, b: Tensor, *, silent: float = 0.0) -> float:
    """Return the mean over samples of the cosine between rows of two tensors (B, ...), flattened to (B, n).

    A sample whose row is zero on one side counts as 0; NaN where no sample has two rows that are not zero.

    Args:
        a: (B, ...).
        b: same shape.
        silent: what a sample counts whose rows are zero on both sides: 0, or 1 as in the code of Refinetti et al.
    """
    p, q = a.flatten(1), b.flatten(1)
    if not bool(((p != 0).any(1) & (q != 0).any(1)).any()):
        return UNDEFINED
    return float(row_cosines(p, q).mean()) + silent * silent_share(a, b)


def row_cosines(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine between every pair of rows of two tensors (B, ...), as (B,) float64; 0 where a row is zero.

    Rows may be as small as their number format: there is no floor, as torch's 1e-8 is, which errors of a confident
    network fall below.
    """
    p, q = a.detach().double().flatten(1), b.detach().double().flatten(1)
    size = p.norm(dim=1) * q.norm(dim=1)
    cosines: Tensor = (p * q).sum(1) / size.clamp_min(torch.finfo(p.dtype).tiny)
    return cosines


def silent_share(a: Tensor, b: Tensor) -> float:
    """Return the share of samples whose rows are zero in both tensors, (B, ...) each."""
    some = a.detach().flatten(1).any(1) | b.detach().flatten(1).any(1)
    return 1 - float(some.double().mean())
