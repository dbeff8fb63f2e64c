"""Early alignment from the statistics of inputs and labels: it is as isotropic as S S^T, S = <y x^T>.

The early alignment matrices of a deep linear net are products of C = S S^T (:mod:`neurofa.theory.deep_linear`), and the
weight alignment of its second layer is the isotropy of C. For labels that do not depend on the inputs, over P samples,

    E C = tr(Sxx) / P Syy:

covariances and unequal variances of the labels make alignment harder, those of the inputs do so only by leaving fewer
dimensions, d = (tr Sxx)^2 / tr Sxx^2, to average over.

Source: that conditioning of the alignment matrices decides is the claim of Refinetti et al. 2021, arXiv 2011.12428
(abstract); the task with alpha and beta is that of the authors' code; the formulas are derived here and tested.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError


def label_covariance(alpha: float, beta: float) -> Tensor:
    """Return Syy of the structured task: [[1, alpha (1 - beta)], [alpha (1 - beta), alpha^2]], (2, 2).

    Args:
        alpha: standard deviation of the second output, in units of the first, > 0.
        beta: one minus the correlation of the two outputs, 0 to 1.

    Raises:
        NeurofaError: out of range.
    """
    if not alpha > 0 or not 0 <= beta <= 1:
        raise NeurofaError(f"got alpha={alpha}, beta={beta}; expected alpha > 0, beta from 0 to 1; change them")
    c = alpha * (1 - beta)
    return torch.tensor([[1.0, c], [c, alpha**2]], dtype=torch.float64)


def structured_task(
    samples: int, inputs: int, alpha: float, beta: float, gen: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw inputs N(0, I) and labels N(0, Syy(alpha, beta)) that do not depend on them, float64.

    Args:
        samples: P.
        inputs: n_0.
        alpha: see :func:`label_covariance`.
        beta: see :func:`label_covariance`.
        gen: source of both.

    Returns:
        (P, n_0) and (P, 2).
    """
    x = torch.randn(samples, inputs, generator=gen, dtype=torch.float64)
    z = torch.randn(samples, 2, generator=gen, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(label_covariance(alpha, beta))  # singular at beta = 0: no Cholesky factor
    return x, z @ (vectors * values.clamp_min(0).sqrt()).t()


def effective_dimension(covariance: Tensor) -> float:
    """Return (tr S)^2 / tr S^2 of a covariance S (n, n): n for n equal variances, 1 for a single direction."""
    return float(covariance.trace().square() / (covariance @ covariance).trace())


def random_label_isotropy(labels: Tensor, dimension: float = math.inf) -> float:
    """Predict the isotropy of C for Gaussian labels that do not depend on the inputs.

    sqrt(E (tr C)^2 / (o E tr C^2)), with E (tr C)^2 ∝ (tr Syy)^2 + 2 tr Syy^2 / d and
    E tr C^2 ∝ tr Syy^2 + ((tr Syy)^2 + tr Syy^2) / d; for d = inf it is tr Syy / (sqrt(o) ||Syy||_F).

    Args:
        labels: Syy, (o, o).
        dimension: d, effective dimension of the inputs.
    """
    trace, square = float(labels.trace()) ** 2, float((labels @ labels).trace())
    numerator = trace + 2 * square / dimension
    return math.sqrt(numerator / (len(labels) * (square + (trace + square) / dimension)))
