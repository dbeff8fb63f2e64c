"""Deep linear networks under direct feedback alignment: exact learning in small alignment matrices.

    h_l = W_l h_{l-1},  h_0 = x,  e = h_L - y,  dW_l = -eta F_l <e h_{l-1}^T>  (l < L),  dW_L = -eta <e h_{L-1}^T>

with F_l (n_l, o) and <.> a mean over samples. From zero weights, at any time and for any F (weak weight alignment):

    W_1 = F_1 A_1,   W_l = F_l A_l F_{l-1}^T,   W_L = A_L F_{L-1}^T

with A_1 (o, n_0) and A_l (o, o). With u_0 = x, u_1 = A_1 x, u_l = A_l G_{l-1} u_{l-1}, G_l = F_l^T F_l, the hidden
layers are h_l = F_l u_l, the output is u_L, and A_l <- A_l - eta <e u_{l-1}^T>: o x o matrices instead of n x n.

Strong weight alignment is A_l ∝ I above the first layer, W_l ∝ F_l F_{l-1}^T. How near a layer is to it is one number
where F^T F ∝ I (isotropy): cos(W_l, F_l F_{l-1}^T) = tr A_l / (sqrt(o) ||A_l||_F).

Early, while e is still -y, with S = <y x^T> and C = S S^T: A_1 = eta t S, A_2 = (eta t)^2 C / 2, and in general
A_l ~ t^(2^(l-1)): a layer waits for all layers below it, so that they align from the bottom to the top. In continuous
time (A_2 + A_2^T) / 2 = A_1 A_1^T / 2 holds at all times.

Sources: the forms of W are equation 3 of a paper that credits Refinetti et al. 2021, arXiv 2011.12428, read second
hand; the recursion, the early laws and the identities are derived here, and checked against training in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError


class DeepLinear:
    """Deep linear network that learns by direct feedback alignment from zero weights, in its alignment matrices A_l.

    All arithmetic is in float64; equations and symbols stand above.

    Args:
        feedback: F_1 ... F_{L-1}, each (n_l, o).
        inputs: n_0.

    Raises:
        NeurofaError: no feedback, or matrices for different errors.
    """

    matrices: list[Tensor]
    """A_1 (o, n_0), then A_2 ... A_L, each (o, o)."""

    def __init__(self, feedback: Sequence[Tensor], inputs: int) -> None:
        widths = {f.shape[1] for f in feedback}
        if len(widths) != 1:
            raise NeurofaError(
                f"got feedback for errors of lengths {sorted(widths)}; expected one matrix (n_l, o) for each hidden"
                " layer, all with the same o; check the columns"
            )
        self.feedback = [f.detach().double() for f in feedback]
        self.outputs = widths.pop()
        self.grams = [f.t() @ f for f in self.feedback]
        above = [torch.zeros(self.outputs, self.outputs, dtype=torch.float64) for _ in feedback]
        self.matrices = [torch.zeros(self.outputs, inputs, dtype=torch.float64), *above]

    def hidden(self, x: Tensor) -> list[Tensor]:
        """Return u_1 ... u_L for inputs x (B, n_0), each (B, o): the hidden layers are F_l u_l, the output is u_L."""
        u = [x @ self.matrices[0].t()]
        for a, gram in zip(self.matrices[1:], self.grams, strict=True):
            u.append(u[-1] @ gram @ a.t())
        return u

    def step(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """Take one step of gradient descent by dfa on the mean of |e|^2 / 2.

        Args:
            x: (B, n_0).
            y: (B, o).
            lr: eta.

        Returns:
            e before the step, (B, o).
        """
        u = self.hidden(x)
        error = u[-1] - y
        # the error reaches every layer directly, so that all take their step from the same u
        for a, below in zip(self.matrices, [x, *u[:-1]], strict=True):
            a.sub_(error.t() @ below, alpha=lr / len(x))
        return error

    def weights(self) -> list[Tensor]:
        """Return W_1 ... W_L, as given by the alignment matrices."""
        first, *middle = self.matrices[:-1]
        weights = [self.feedback[0] @ first]
        for index, a in enumerate(middle, start=1):
            weights.append(self.feedback[index] @ a @ self.feedback[index - 1].t())
        return [*weights, self.matrices[-1] @ self.feedback[-1].t()]

    def alignments(self) -> list[float]:
        """Return cos(W_l, F_l F_{l-1}^T) for l = 2 ... L - 1 and cos(W_L, F_{L-1}^T), from the small matrices alone."""
        lefts = [*self.grams[1:], torch.eye(self.outputs, dtype=torch.float64)]
        return [alignment_cosine(*triple) for triple in zip(self.matrices[1:], lefts, self.grams, strict=True)]


def alignment_cosine(a: Tensor, left: Tensor, right: Tensor) -> float:
    """Return cos(F A K^T, F K^T) for G = F^T F and H = K^T K; NaN for A = 0.

    It is tr(G A H) / sqrt(tr(A^T G A H) tr(G H)). For G, H ∝ I this is the isotropy tr A / (sqrt(o) ||A||_F).

    Args:
        a: A, (o, o).
        left: G, (o, o); the identity at the readout.
        right: H, (o, o).
    """
    size = float((a.t() @ left @ a @ right).trace() * (left @ right).trace())
    return float((left @ a @ right).trace()) / math.sqrt(size) if size > 0 else math.nan


class LeadingTerm(NamedTuple):
    """The leading term of an alignment matrix for small t: A_l = coefficient (eta t)^exponent."""

    coefficient: Tensor
    """Shaped as A_l."""
    exponent: int
    """2^(l-1)."""


def leading_terms(cross: Tensor, grams: Sequence[Tensor]) -> list[LeadingTerm]:
    """Return the leading terms of A_1 ... A_L while the error is still -y: exponents 1, 2, 4, 8, ... = 2^(l-1).

    A_1 = S eta t and A_{l+1} = P_l (eta t)^(2^l) / 2^l with P_1 = S S^T, P_l = P_{l-1} G_{l-1} K_l^T, where K_l is the
    coefficient of A_l.

    Args:
        cross: S = <y x^T>, (o, n_0).
        grams: G_1 ... G_{L-1}, each (o, o).
    """
    terms = [LeadingTerm(cross, 1)]
    moment = cross @ cross.t()
    for index, gram in enumerate(grams, start=1):
        exponent = 2**index
        coefficient = moment / exponent
        terms.append(LeadingTerm(coefficient, exponent))
        moment = moment @ gram @ coefficient.t()
    return terms
