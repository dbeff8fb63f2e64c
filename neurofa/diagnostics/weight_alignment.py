"""Weight alignment: cosines between forward weights and products of feedback matrices, and alignment matrices.

Symbols: W_l (n_l, n_{l-1}) are the forward weights of layer l = 1..L; F_l (n_l, o) sends the output error to layer l
(F_l = B_l^T). Definitions follow Refinetti et al. 2021, arXiv 2011.12428.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import Tensor

from neurofa.core.directions import LowRank
from neurofa.core.network import Network
from neurofa.core.rule import Direct, Rule
from neurofa.core.view import Tick
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.linalg.convolution import ConvGeometry
from neurofa.linalg.spectra import UNDEFINED, condition_number, cosine_similarity, isotropy, orthogonality, ranks
from neurofa.theory.conv import kernel_alignment, nearest_kernel


@dataclass(frozen=True, kw_only=True)
class FeedbackSpectrum:
    """Conditioning, orthogonality and norm of the matrix F_l of a direct rule."""

    conditioning: float
    """Largest over smallest singular value; infinite where F_l has fewer rows than columns, or not full rank."""
    orthogonality: float
    """||F^T F / c - I||_F with c = tr(F^T F) / o: 0 where aligned weights give aligned gradients exactly."""
    norm: float
    """||F_l||_F."""


@dataclass(frozen=True, kw_only=True)
class AlignmentMatrix:
    """One alignment matrix A_l, W_l ~ F_l A_l F_{l-1}^T, and how near it is to a multiple of the identity."""

    matrix: Tensor
    """A_l: (o, n_0) for the first layer, (o, o) above."""
    conditioning: float
    """Largest over smallest singular value of A_l."""
    isotropy: float
    """tr(A) / (sqrt(o) ||A||_F); NaN for the first layer, whose A is not square."""
    residual: float
    """||W_l - F_l A_l F_{l-1}^T||_F / ||W_l||_F: 0 where weak alignment is exact."""
    stable_rank: float
    """||A||_F^2 / ||A||_2^2."""
    effective_rank: float
    """exp of the entropy of the singular values."""

    def to_dict(self) -> dict[str, float]:
        """Return the numbers by name, without the matrix."""
        return {k: v for k, v in asdict(self).items() if k != "matrix"}


def feedback_matrices(rule: Rule, gen: torch.Generator) -> dict[str, Tensor]:
    """Measure F_l = B_l^T of a direct rule by sending unit errors through the pathway: (n_l, o) by layer.

    Works for every linear pathway, stored or physical; a noisy one gives one noisy measurement.

    Args:
        rule: bound.
        gen: source of the pathway's read noise.

    Returns:
        Empty for rules without a direct pathway.
    """
    if not isinstance(rule, Direct):
        return {}
    units = torch.eye(rule.plan.outputs, dtype=rule.plan.dtype, device=rule.plan.device)
    return {name: rows.flatten(1).t() for name, rows in rule.feedback(units, gen).items()}


def feedback_spectra(feedback: dict[str, Tensor]) -> dict[str, FeedbackSpectrum]:
    """Return conditioning, orthogonality and norm of every feedback matrix F_l.

    Where F_l is badly conditioned, every alignment matrix is so too.

    Args:
        feedback: from :func:`feedback_matrices`.
    """
    return {
        name: FeedbackSpectrum(
            conditioning=condition_number(f) if len(f) >= f.shape[1] else math.inf,
            orthogonality=orthogonality(f),
            norm=float(f.double().norm()),
        )
        for name, f in feedback.items()
    }


def weight_alignment(network: Network, rule: Rule, tick: Tick, feedback: dict[str, Tensor]) -> dict[str, float]:
    """Compute the weight alignment of every layer for which it is defined.

    Direct rules, dense layers above a layer of matching width: WA_l = cos(W_l, F_l F_{l-1}^T), and at the readout
    WA_L = cos(W_L, F_{L-1}^T); convolutions right above another image layer, as matrices: see
    :mod:`neurofa.theory.conv`, and :func:`kernel_bounds` for the largest value that a kernel can reach. Chained rules:
    cos(W, B) over the matrices beside the layer, B oriented as W; the first layer is left out, since its return
    weights are not used.

    Args:
        network: whose weights are compared.
        rule: bound.
        tick: from :func:`neurofa.training.replay.record`, for the weights as read.
        feedback: from :func:`feedback_matrices`.
    """
    if rule.declares.chained:
        return _return_alignment(rule, tick)
    alignment = {
        name: cosine_similarity(tick.views[name].params["weight"], below.t() if own is None else own @ below.t())
        for name, own, below in _dense_pairs(network, rule, feedback)
        if below is not None
    }
    for name, below_name, geometry in _image_pairs(network, rule, feedback):
        kernel = tick.views[name].params["weight"]
        alignment[name] = kernel_alignment(kernel, feedback[name], feedback[below_name], geometry)
    return alignment


def kernel_bounds(network: Network, rule: Rule, feedback: dict[str, Tensor]) -> dict[str, float]:
    """Compute the largest weight alignment that any kernel can have with this feedback, for every aligned convolution.

    Args:
        network: for its layers.
        rule: bound.
        feedback: from :func:`feedback_matrices`.
    """
    return {
        name: nearest_kernel(feedback[name], feedback[below_name], geometry).cosine
        for name, below_name, geometry in _image_pairs(network, rule, feedback)
    }


def alignment_matrices(
    network: Network, rule: Rule, tick: Tick, feedback: dict[str, Tensor]
) -> dict[str, AlignmentMatrix]:
    """Estimate the alignment matrices of a chain of dense layers under a direct rule, by least squares.

    A_1 = F_1^+ W_1, A_l = F_l^+ W_l (F_{l-1}^T)^+, A_L = W_L (F_{L-1}^T)^+. A deep linear net that starts from zero
    obeys W_l = F_l A_l F_{l-1}^T exactly; elsewhere ``residual`` is the distance from that.

    Args:
        network: whose weights are taken.
        rule: bound.
        tick: for the weights as read.
        feedback: from :func:`feedback_matrices`.

    Source: Refinetti et al. 2021, section on deep linear networks (weak weight alignment).
    """
    matrices = {}
    for name, own, below in _dense_pairs(network, rule, feedback):
        w = tick.views[name].params["weight"].double()
        left = None if own is None else own.double()
        right = None if below is None else below.double().t()
        a = w if left is None else torch.linalg.pinv(left) @ w
        a = a if right is None else a @ torch.linalg.pinv(right)
        # W_l as the estimate gives it, to see what of W_l lies outside of the two ranges
        rebuilt = a if left is None else left @ a
        rebuilt = rebuilt if right is None else rebuilt @ right
        size = float(w.norm())
        stable, effective = ranks(a)
        matrices[name] = AlignmentMatrix(
            matrix=a,
            conditioning=condition_number(a),
            isotropy=isotropy(a) if a.shape[0] == a.shape[1] else UNDEFINED,
            residual=float((w - rebuilt).norm()) / size if size > 0 else UNDEFINED,
            stable_rank=stable,
            effective_rank=effective,
        )
    return matrices


def _return_alignment(rule: Rule, tick: Tick) -> dict[str, float]:
    """Return cos(W, B) of every layer but the first under a chained rule."""
    alignment = {}
    for site in rule.plan.sites[1:]:
        view = tick.views[site.name]
        whole = {k: b.dense() if isinstance(b, LowRank) else b for k, b in (view.return_weights or {}).items()}
        matrices = {k: b for k, b in whole.items() if b.dim() > 1}
        if matrices:
            forward = torch.cat([view.params[k].flatten() for k in matrices])
            alignment[site.name] = cosine_similarity(forward, torch.cat([b.flatten() for b in matrices.values()]))
    return alignment


def _dense_pairs(
    network: Network, rule: Rule, feedback: dict[str, Tensor]
) -> list[tuple[str, Tensor | None, Tensor | None]]:
    """Return the dense layers with F_l (None at the readout) and F_{l-1} (None at the first layer)."""
    if not feedback:
        return []
    pairs: list[tuple[str, Tensor | None, Tensor | None]] = []
    before: str | None = None
    for index, site in enumerate(rule.plan.sites):
        if isinstance(network.layer(site.name), Dense):
            below = None if before is None else feedback[before]
            fits = below is None or len(below) == site.returning["weight"][1]
            if fits and (before is not None or index == 0):
                pairs.append((site.name, feedback.get(site.name), below))
        before = site.name
    return pairs


def _image_pairs(network: Network, rule: Rule, feedback: dict[str, Tensor]) -> list[tuple[str, str, ConvGeometry]]:
    """Return the convolutions right above another layer with feedback: both names, and the geometry."""
    if not feedback:
        return []
    pairs = []
    for before, site in pairwise(rule.plan.sites):
        layer = network.layer(site.name)
        # with pooling in between, the window of the site is wider than the layer's own
        plain = isinstance(layer, Conv2d) and layer.map.groups == 1 and site.window == layer.map.window
        if plain and site.window is not None and len(before.out_shape) == 3:
            pairs.append((site.name, before.name, ConvGeometry(site.window, before.out_shape, site.out_shape)))
    return pairs
