"""Gradient alignment: cosines between a rule's directions and teaching signals and those of backpropagation.

Symbols: W_l are the forward weights of layer l = 1..L; delta_l is the error at the affine output of layer l.
Definitions follow Refinetti et al. 2021, arXiv 2011.12428.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwmodels.registry import build
from neurofa.core.capabilities import Teaching
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, bind_rule
from neurofa.core.view import Tick
from neurofa.linalg.spectra import UNDEFINED, cosine_similarity, mean_row_cosine, silent_share
from neurofa.training.replay import Credit, collect, with_own_transposes


@dataclass(frozen=True, kw_only=True)
class GradientAlignment:
    """Alignment of a rule's errors and directions with those of backpropagation, for one or all hidden layers.

    dW is the direction of the layer's weight matrices and kernels, delta the error at its affine output.

    The norms of both sides stand beside each cosine: the cosine of vectors near zero says nothing.
    """

    cosine: float
    """cos(dW^rule, dW^bp), flattened."""
    delta_cosine: float
    """Mean over samples of cos(delta^rule, delta^bp), 0 for samples without an error; NaN for layers of several affine
    maps."""
    silent_share: float
    """Share of samples whose delta is zero on both sides. The authors' code counts them as cosine 1: its figure is
    delta_cosine + silent_share."""
    delivered_cosine: float
    """Mean over samples of the cosine of the delivered errors, at the layer's output."""
    update_norm: float
    """||dW^rule||, mean over the batch."""
    gradient_norm: float
    """||dW^bp||, mean over the batch."""
    delta_norm: float
    """Root mean square over samples of ||delta^rule||; NaN for layers of several affine maps."""
    delta_gradient_norm: float
    """The same of ||delta^bp||."""
    delivered_norm: float
    """Root mean square over samples of the norm of the delivered error."""
    delivered_gradient_norm: float
    """The same of backpropagation's error at the layer's output."""


def backprop_credit(network: Network, tick: Tick, teaching: Teaching, rule: Rule) -> Credit:
    """Return the errors and directions of backpropagation in the same tick: same weights as read, same masks.

    Args:
        network: in the mode in which the tick was recorded.
        tick: from :func:`neurofa.training.replay.record`.
        teaching: error and target, (B, o) each.
        rule: the rule that is compared, bound; only its plan is used.
    """
    bp: Rule = build("rule", "bp")
    gen = generator(0, "shadow")
    bind_rule(bp, rule.plan, gen)
    return collect(network, bp, with_own_transposes(network, tick), teaching, gen)


def gradient_alignment(network: Network, ours: Credit, bp: Credit) -> dict[str, GradientAlignment]:
    """Compute the gradient alignment of every learning layer but the readout, and of all of them as ``"total"``.

    GA_l = mean over samples of cos(delta_l^rule, delta_l^bp), and the same for the summed directions; ``total``
    concatenates layers.

    Args:
        network: for the name of the readout.
        ours: errors and directions of the rule, from :func:`neurofa.training.replay.collect`.
        bp: from :func:`backprop_credit`, same tick.

    Source: Refinetti et al. 2021, the authors' code (cosines of deltas, output layer excluded).
    """
    # directions are listed from readout to input
    names = [name for name in ours.directions if name != network.readout][::-1]
    groups = {name: [name] for name in names} | ({"total": names} if names else {})
    return {
        title: GradientAlignment(
            cosine=cosine_similarity(_flat_matrices(ours, group), _flat_matrices(bp, group)),
            delta_cosine=_mean_cosine(ours.deltas, bp.deltas, group),
            silent_share=_silent_share(ours.deltas, bp.deltas, group),
            delivered_cosine=_mean_cosine(ours.errors, bp.errors, group),
            update_norm=float(_flat_matrices(ours, group).double().norm()) / _batch_size(ours),
            gradient_norm=float(_flat_matrices(bp, group).double().norm()) / _batch_size(bp),
            delta_norm=_root_mean_square(ours.deltas, group),
            delta_gradient_norm=_root_mean_square(bp.deltas, group),
            delivered_norm=_root_mean_square(ours.errors, group),
            delivered_gradient_norm=_root_mean_square(bp.errors, group),
        )
        for title, group in groups.items()
    }


def _flat_matrices(credit: Credit, names: list[str]) -> Tensor:
    """Return all directions of the matrices and kernels of these layers as one vector."""
    parts = [d.flatten() for name in names for d in credit.directions[name].values() if d.dim() > 1]
    return torch.cat(parts) if parts else torch.zeros(0)


def _mean_cosine(ours: dict[str, Tensor], bp: dict[str, Tensor], names: list[str]) -> float:
    """Return the mean cosine of the samples' rows, layers concatenated; layers without an entry are left out."""
    rows = _rows(ours, bp, names)
    return UNDEFINED if rows is None else mean_row_cosine(*rows)


def _silent_share(ours: dict[str, Tensor], bp: dict[str, Tensor], names: list[str]) -> float:
    """Return the share of samples whose rows are zero on both sides, layers concatenated."""
    rows = _rows(ours, bp, names)
    return UNDEFINED if rows is None else silent_share(*rows)


def _rows(ours: dict[str, Tensor], bp: dict[str, Tensor], names: list[str]) -> tuple[Tensor, Tensor] | None:
    """Return the rows of both sides, (B, n) each, of the layers that both have; None where they share none."""
    both = [name for name in names if name in ours and name in bp]
    if not both:
        return None
    first, second = (torch.cat([errors[name].flatten(1) for name in both], 1) for errors in (ours, bp))
    return first, second


def _root_mean_square(errors: dict[str, Tensor], names: list[str]) -> float:
    """Return the root mean square over samples of the norm of their rows, layers concatenated."""
    rows = [errors[name].detach().double().flatten(1) for name in names if name in errors]
    return math.sqrt(sum(float(e.square().sum()) for e in rows) / len(rows[0])) if rows else UNDEFINED


def _batch_size(credit: Credit) -> int:
    return len(next(iter(credit.errors.values())))
