"""Do forward weights and updates turn towards the feedback? Alignment of weights, matrices and gradients.

Symbols: W_l (n_l, n_{l-1}) are the forward weights of layer l = 1..L; F_l (n_l, o) sends the output error to layer l
(F_l = B_l^T); delta_l is the error at the affine output of layer l. Definitions follow Refinetti et al. 2021,
arXiv 2011.12428 (gradient alignment, weight alignment, alignment matrices).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hwmodels.registry import build
from neurofa.core.capabilities import Teaching
from neurofa.core.directions import LowRank
from neurofa.core.network import Network
from neurofa.core.plan import Site
from neurofa.core.randomness import generator
from neurofa.core.rule import Direct, Rule
from neurofa.core.view import Tick
from neurofa.core.window import Window
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.linalg.spectra import (
    NONE,
    conditioning,
    cosine,
    effective_rank,
    isotropy,
    mean_cosine,
    orthogonality,
    stable_rank,
)
from neurofa.theory.conv import kernel_alignment, project
from neurofa.training.replay import Credit, collect, with_own_transposes


@dataclass(frozen=True, kw_only=True)
class GradientAlignment:
    """How near a rule's credit is to backpropagation's, one layer or all hidden layers together."""

    cosine: float
    """cos(vec dW^rule, vec dW^bp), over the layer's weight matrices and kernels."""
    delta_cosine: float
    """Mean over samples of cos(delta^rule, delta^bp); NaN for layers of several affine maps."""
    delivered_cosine: float
    """Mean over samples of the cosine of the delivered errors, at the layer's output."""
    update_norm: float
    """||dW^rule||, mean over the batch: a cosine of vectors near zero says nothing, so norms stand beside each."""
    gradient_norm: float
    """||dW^bp||, mean over the batch."""
    delta_norm: float
    """Root mean square over samples of ||delta^rule||; NaN as ``delta_cosine``."""
    delta_gradient_norm: float
    delivered_norm: float
    delivered_gradient_norm: float

    def to_dict(self) -> dict[str, float]:
        """All numbers by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Pathway:
    """What the matrix F_l of a direct rule is like."""

    conditioning: float
    """s_1 / s_o; infinite where F_l has fewer rows than columns, or not full rank."""
    orthogonality: float
    """||F^T F / c - I||_F with c = tr(F^T F) / o: 0 where aligned weights give aligned gradients exactly."""
    norm: float
    """||F_l||_F."""


@dataclass(frozen=True, kw_only=True)
class AlignmentMatrix:
    """One alignment matrix A_l and how near it is to a multiple of the identity."""

    matrix: Tensor
    """A_l: (o, n_0) for the first layer, (o, o) above."""
    conditioning: float
    """s_max / s_min."""
    isotropy: float
    """tr(A) / (sqrt(o) ||A||_F); NaN for the first layer, whose A is not square."""
    residual: float
    """||W_l - F_l A_l F_{l-1}^T||_F / ||W_l||_F: 0 where weak alignment is exact."""
    stable_rank: float
    effective_rank: float

    def to_dict(self) -> dict[str, float]:
        """The numbers without the matrix."""
        return {k: v for k, v in asdict(self).items() if k != "matrix"}


def shadow(network: Network, tick: Tick, teaching: Teaching, rule: Rule) -> Credit:
    """Credit that backpropagation would have assigned in the same tick: same reads, same masks, exact transposes.

    Args:
        network: in the mode in which the tick was recorded.
        tick: from :func:`neurofa.training.replay.record`.
        teaching: error and target, (B, o) each.
        rule: the rule that is compared, bound; it lends its plan.
    """
    bp: Rule = build("rule", "bp")
    gen = generator(0, "shadow")
    bp.bind(rule.plan, gen)
    return collect(network, bp, with_own_transposes(network, tick), teaching, gen)


def gradient_alignment(network: Network, ours: Credit, bp: Credit) -> dict[str, GradientAlignment]:
    """Gradient alignment of every layer that learns but the readout, and of all of them together as ``"total"``.

    GA_l = mean over samples of cos(delta_l^rule, delta_l^bp), and the same for the summed directions; ``total``
    concatenates layers.

    Args:
        network: for the readout's name.
        ours: the rule's credit, from :func:`neurofa.training.replay.collect`.
        bp: from :func:`shadow`, same tick.

    Source: Refinetti et al. 2021, the authors' code (cosines of deltas, output layer excluded).
    """
    names = [name for name in ours.directions if name != network.readout][::-1]
    found = {}
    groups = {name: [name] for name in names} | ({"total": names} if names else {})
    for title, group in groups.items():
        found[title] = GradientAlignment(
            cosine=cosine(_matrices(ours, group), _matrices(bp, group)),
            delta_cosine=_rows(ours.deltas, bp.deltas, group),
            delivered_cosine=_rows(ours.errors, bp.errors, group),
            update_norm=float(_matrices(ours, group).double().norm()) / _samples(ours),
            gradient_norm=float(_matrices(bp, group).double().norm()) / _samples(bp),
            delta_norm=_size(ours.deltas, group),
            delta_gradient_norm=_size(bp.deltas, group),
            delivered_norm=_size(ours.errors, group),
            delivered_gradient_norm=_size(bp.errors, group),
        )
    return found


def feedback_matrices(rule: Rule, gen: torch.Generator) -> dict[str, Tensor]:
    """F_l = B_l^T of a direct rule, found by sending unit errors through the pathway: (n_l, o) by layer.

    Works for every linear pathway, stored or physical; a noisy one gives one noisy measurement.

    Args:
        rule: bound.
        gen: source of the pathway's read noise.

    ReturnWeights:
        Empty for rules without a direct pathway.
    """
    if not isinstance(rule, Direct):
        return {}
    units = torch.eye(rule.plan.outputs, dtype=rule.plan.dtype, device=rule.plan.device)
    return {name: rows.flatten(1).t() for name, rows in rule.feedback(units, gen).items()}


def pathways(feedback: dict[str, Tensor]) -> dict[str, Pathway]:
    """Conditioning of the feedback matrices: where F_l is badly conditioned, no alignment matrix can be well so.

    Args:
        feedback: from :func:`feedback_matrices`.
    """
    return {
        name: Pathway(
            conditioning=conditioning(f) if len(f) >= f.shape[1] else math.inf,
            orthogonality=orthogonality(f),
            norm=float(f.double().norm()),
        )
        for name, f in feedback.items()
    }


def weight_alignment(network: Network, rule: Rule, tick: Tick, feedback: dict[str, Tensor]) -> dict[str, float]:
    """Weight alignment of every layer for which it is defined.

    Direct rules, dense layers above a layer of matching width: WA_l = cos(W_l, F_l F_{l-1}^T), and at the readout
    WA_L = cos(W_L, F_{L-1}^T); convolutions right above another image layer, as matrices: see
    :mod:`neurofa.theory.conv`, and :func:`kernel_bounds` for the largest value that a kernel can reach. Chained rules:
    cos(W, B) over the matrices beside the layer, B oriented as W; the first layer returns its error to nobody and is
    left out.

    Args:
        network: whose weights are compared.
        rule: bound.
        tick: from :func:`neurofa.training.replay.record`, for the weights as read.
        feedback: from :func:`feedback_matrices`.
    """
    if rule.declares.chained:
        found = {}
        for site in rule.plan.sites[1:]:
            view = tick.views[site.name]
            whole = {k: b.dense() if isinstance(b, LowRank) else b for k, b in (view.return_weights or {}).items()}
            back = {k: b for k, b in whole.items() if b.dim() > 1}
            if back:
                ours = torch.cat([view.params[k].flatten() for k in back])
                found[site.name] = cosine(ours, torch.cat([b.flatten() for b in back.values()]))
        return found
    pairs = _dense_pairs(network, rule, feedback)
    found = {
        name: cosine(tick.views[name].params["weight"], below.t() if own is None else own @ below.t())
        for name, own, below in pairs
        if below is not None
    }
    for site, before, window in _image_pairs(network, rule, feedback):
        kernel = tick.views[site.name].params["weight"]
        shapes = (_image(before), _image(site))
        found[site.name] = kernel_alignment(kernel, feedback[site.name], feedback[before.name], window, *shapes)
    return found


def kernel_bounds(network: Network, rule: Rule, feedback: dict[str, Tensor]) -> dict[str, float]:
    """The largest weight alignment that any kernel can have with this feedback, for every convolution that has one.

    Args:
        network: for its layers.
        rule: bound.
        feedback: from :func:`feedback_matrices`.
    """
    return {
        site.name: project(
            feedback[site.name], feedback[before.name], window, _image(before), _image(site)
        ).cosine
        for site, before, window in _image_pairs(network, rule, feedback)
    }  # fmt: skip


def alignment_matrices(
    network: Network, rule: Rule, tick: Tick, feedback: dict[str, Tensor]
) -> dict[str, AlignmentMatrix]:
    """Least-squares estimate of the alignment matrices of a chain of dense layers under a direct rule.

    A_1 = F_1^+ W_1, A_l = F_l^+ W_l (F_{l-1}^T)^+, A_L = W_L (F_{L-1}^T)^+. A deep linear net that starts from zero
    obeys W_l = F_l A_l F_{l-1}^T exactly; elsewhere ``residual`` says how far it is from that.

    Args:
        network: whose weights are taken.
        rule: bound.
        tick: for the weights as read.
        feedback: from :func:`feedback_matrices`.

    Source: Refinetti et al. 2021, section on deep linear networks (weak weight alignment).
    """
    found = {}
    for name, own, below in _dense_pairs(network, rule, feedback):
        w = tick.views[name].params["weight"].double()
        left = None if own is None else own.double()
        right = None if below is None else below.double().t()
        a = w if left is None else torch.linalg.pinv(left) @ w
        a = a if right is None else a @ torch.linalg.pinv(right)
        back = a if left is None else left @ a
        back = back if right is None else back @ right
        size = float(w.norm())
        found[name] = AlignmentMatrix(
            matrix=a, conditioning=conditioning(a), isotropy=isotropy(a) if a.shape[0] == a.shape[1] else NONE,
            residual=float((w - back).norm()) / size if size > 0 else NONE,
            stable_rank=stable_rank(a), effective_rank=effective_rank(a),
        )  # fmt: skip
    return found


def _dense_pairs(
    network: Network, rule: Rule, feedback: dict[str, Tensor]
) -> list[tuple[str, Tensor | None, Tensor | None]]:
    """Dense layers with F_l (None at the readout) and F_{l-1} (None at the first layer)."""
    if not feedback:
        return []
    found: list[tuple[str, Tensor | None, Tensor | None]] = []
    before: str | None = None
    for index, site in enumerate(rule.plan.sites):
        if isinstance(network.layer(site.name), Dense):
            below = None if before is None else feedback[before]
            fits = below is None or len(below) == site.returning["weight"][1]
            if fits and (before is not None or index == 0):
                found.append((site.name, feedback.get(site.name), below))
        before = site.name
    return found


def _image_pairs(network: Network, rule: Rule, feedback: dict[str, Tensor]) -> list[tuple[Site, Site, Window]]:
    """Convolutions whose input is the output of another layer with a feedback, with that layer and their window."""
    if not feedback:
        return []
    found = []
    for before, site in pairwise(rule.plan.sites):
        layer = network.layer(site.name)
        plain = isinstance(layer, Conv2d) and layer.map.groups == 1 and site.window == layer.window
        if plain and site.window is not None and len(before.out_shape) == 3:
            found.append((site, before, site.window))
    return found


def _image(site: Site) -> tuple[int, int, int]:
    c, h, w = site.out_shape
    return c, h, w


def _matrices(credit: Credit, names: list[str]) -> Tensor:
    """All directions of matrices and kernels of these layers in one vector."""
    parts = [d.flatten() for name in names for d in credit.directions[name].values() if d.dim() > 1]
    return torch.cat(parts) if parts else torch.zeros(0)


def _rows(ours: dict[str, Tensor], bp: dict[str, Tensor], names: list[str]) -> float:
    """Mean cosine of the samples' rows, layers side by side; layers without an entry are left out."""
    both = [name for name in names if name in ours and name in bp]
    if not both:
        return NONE
    return mean_cosine(
        torch.cat([ours[name].flatten(1) for name in both], 1), torch.cat([bp[name].flatten(1) for name in both], 1)
    )


def _size(errors: dict[str, Tensor], names: list[str]) -> float:
    """Root mean square over samples of the norm of their rows, layers side by side."""
    found = [errors[name].detach().double().flatten(1) for name in names if name in errors]
    return math.sqrt(sum(float(e.square().sum()) for e in found) / len(found[0])) if found else NONE


def _samples(credit: Credit) -> int:
    """Number of samples in the batch."""
    return len(next(iter(credit.errors.values())))
