"""Measured matrices compared with the wanted ones: common factor, cosine, error, outliers, orientation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError

OUTLIER = 5.0
"""Robust standard deviations beyond which a weight counts as an outlier."""
LEAST_COSINE = 0.7
"""Cosine below which a matrix is taken for another one: errors as large as the weights themselves leave 0.71."""


@dataclass(frozen=True, kw_only=True)
class MatrixFit:
    """Comparison of a matrix that was read with the one that it replaced."""

    path: str
    scale: float
    """s of the least squares fit measured = s target."""
    cosine: float
    """Between measured and target."""
    error: float
    """Root mean square of measured / s - target (measured - target, where the scale is kept), in units of the target's
    own."""
    outliers: int
    """Weights more than :data:`OUTLIER` robust standard deviations off."""
    worst: tuple[str, ...]
    """The largest of them, by index, with the measured and the wanted weight."""


def fit_matrix(
    path: str, measured: Tensor, target: Tensor, *, keep_scale: bool, least_cosine: float = LEAST_COSINE
) -> tuple[MatrixFit, Tensor]:
    """Compare measured weights with the wanted ones, and divide by their common factor.

    Args:
        path: of the matrix.
        measured: as read back.
        target: as wanted, same shape.
        keep_scale: leave the measured numbers as they are.
        least_cosine: between the two, -1 to 1: below it the measured matrix is refused.

    Returns:
        The comparison, and the weights to use.

    Raises:
        NeurofaError: another shape, numbers that are not finite, another matrix (a transposed or reversed one too), or
            a factor that is not positive.
    """
    if measured.shape != target.shape:
        raise NeurofaError(
            f"got '{path}' of shape {tuple(measured.shape)}; expected {tuple(target.shape)}; check the file"
        )
    if not bool(measured.isfinite().all()):
        raise NeurofaError(f"got NaN or infinity in '{path}'; expected finite numbers; measure again")
    m, w = measured.double(), target.double()
    power = float(w.square().sum())
    # least squares: the s that minimises |m - s w|^2
    scale = float((m * w).sum()) / power if power else 1.0
    cosine = _cosine(m, w) if power else 1.0
    if cosine < least_cosine:
        raise NeurofaError(
            f"got '{path}' with cosine {cosine:.3f} to the matrix that it replaces; expected {least_cosine:g} or more;"
            f" {_orientation(m, w, least_cosine)}, or confirm it with --least-cosine"
        )
    if scale <= 0 and not keep_scale:
        raise NeurofaError(
            f"got '{path}' that fits its target with the factor {scale:.3g}; expected a positive one; check sign and"
            " orientation"
        )
    off = m / (1.0 if keep_scale else scale) - w
    # the median absolute deviation times 1.4826 is the standard deviation of normal numbers
    sigma = (off - off.median()).abs().median() * 1.4826
    far = (off - off.median()).abs() > OUTLIER * sigma.clamp_min(1e-12)
    indices = torch.nonzero(far)[off[far].abs().argsort(descending=True)[:5]].tolist()
    worst = tuple(f"{(*i,)}: {float(off[(*i,)] + w[(*i,)]):.4g} for {float(w[(*i,)]):.4g}" for i in indices)
    error = float(off.square().mean().sqrt()) / max((power / w.numel()) ** 0.5, 1e-300)
    fit = MatrixFit(path=path, scale=scale, cosine=cosine, error=error, outliers=int(far.sum()), worst=worst)
    return fit, measured if keep_scale else (m / scale).to(target.dtype)


def _cosine(a: Tensor, b: Tensor) -> float:
    """Return the cosine between two tensors of one shape; 0 where one of them is zero."""
    norms = float(a.norm()) * float(b.norm())
    return float((a * b).sum()) / norms if norms else 0.0


def _orientation(m: Tensor, w: Tensor, least: float) -> str:
    """Say which transposed, reversed or negated form of a matrix fits, or what else to check."""
    flat, wanted = m.flatten(1), w.flatten(1)
    best = (least, "check that it is the matrix of this run, its order of rows and columns, and its sign")
    for transposed, rows, columns in itertools.product((False, True), repeat=3):
        turned = flat.t() if transposed else flat
        if turned.shape != wanted.shape:
            continue
        axes = [axis for axis, flipped in enumerate((rows, columns)) if flipped]
        cosine = _cosine(turned.flip(axes), wanted)
        words = [word for word, on in (("transposed", transposed), ("rows reversed", rows)) if on]
        words += ["columns reversed"] if columns else []
        for sign, more in ((1, []), (-1, ["negated"])):
            if sign * cosine > best[0] and (words or more):
                best = (sign * cosine, f"it fits when {' and '.join([*words, *more])} (cosine {sign * cosine:.3f})")
    return best[1]
