"""Directions of weights (tensors, factors of outer products, sums of rows) and return weights of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from neurofa.core.event_rows import event_correlation

TALL = 16
"""Ratio n_out / n_in above which the CPU multiplies the transpose of a direction faster."""


class Outer(NamedTuple):
    """A direction in factored form: the sum over samples of outer products, ``left^T right``.

    The factors are kept because the product can be accumulated directly into its target, and because a crossbar is
    updated by these two vectors per sample.
    """

    left: Tensor
    """(N, n_out): error at the affine output; N samples, or samples times positions."""
    right: Tensor
    """(N, n_in): input of the affine map."""

    def dense(self) -> Tensor:
        """Return the direction as one tensor, (n_out, n_in)."""
        if self.sparse:
            return event_correlation(self.left, self.right)
        return (self.right.t() @ self.left).t() if self.tall else self.left.t() @ self.right

    @property
    def tall(self) -> bool:
        """Whether n_out / n_in exceeds :data:`TALL`."""
        return self.left.shape[1] > TALL * self.right.shape[1]

    @property
    def sparse(self) -> bool:
        """Whether the inputs are rows of events (:meth:`neurofa.core.events.Events.to_csr`)."""
        return self.right.layout == torch.sparse_csr


class RowSums(NamedTuple):
    """A direction that is zero in all rows but some: each vector is added to the row that its index names."""

    chosen: Tensor
    """(N,) int64: rows; a row may occur several times."""
    values: Tensor
    """(N, n_in): vectors added to these rows."""
    rows: int
    """n_out: rows of the weight."""

    def dense(self) -> Tensor:
        """Return the direction as one tensor, (n_out, n_in)."""
        zeros = self.values.new_zeros(self.rows, self.values.shape[1])
        return zeros.index_add_(0, self.chosen, self.values)

    def outer(self) -> Outer:
        """Return the direction in factored form: one-hot rows times the vectors."""
        return Outer(torch.nn.functional.one_hot(self.chosen, self.rows).to(self.values.dtype), self.values)


class Sum(NamedTuple):
    """A direction that is a sum of terms, which are added only where the direction is used."""

    parts: tuple[Tensor | Outer, ...]
    """The terms."""

    def dense(self) -> Tensor:
        """Return the direction as one tensor."""
        first, *others = [p.dense() if isinstance(p, Outer) else p for p in self.parts]
        return sum(others, start=first)


class LowRank(NamedTuple):
    """Return weights B = P Q of rank r: an error delta, (N, n_out), is returned as (delta P) Q, (N, n_in)."""

    p: Tensor
    """(n_out, r)."""
    q: Tensor
    """(r, n_in), or (r, C_in, k, k) for kernels, with r channels."""

    def dense(self) -> Tensor:
        """Return P Q, shaped as W."""
        return (self.p @ self.q.flatten(1)).view(len(self.p), *self.q.shape[1:])

    def clone(self) -> LowRank:
        """Return copies of both factors."""
        return LowRank(self.p.clone(), self.q.clone())


ReturnWeights = Mapping[str, Tensor | LowRank]
"""Return weights of a layer, through which its error goes to the layer below, by the name of the forward weight."""

Direction = Tensor | Outer | RowSums | Sum
Directions = dict[str, Direction]
"""Directions of one layer's weights, summed over the batch, by the name of the weight."""


def dense(directions: Directions) -> dict[str, Tensor]:
    """Return the directions of a layer as new dense tensors, by the name of the weight; outer products are computed."""
    return {k: d.clone() if isinstance(d, Tensor) else d.dense() for k, d in directions.items()}


def dense_direction(direction: Direction) -> Tensor:
    """Return one direction as a tensor; one that is a tensor already is not copied."""
    return direction if isinstance(direction, Tensor) else direction.dense()
