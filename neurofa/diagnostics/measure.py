"""Alignment, ranks and norms of a learner on one batch, without changing the run."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from neurofa.core.randomness import generator
from neurofa.diagnostics.gradient_alignment import backprop_credit, gradient_alignment
from neurofa.diagnostics.weight_alignment import (
    alignment_matrices,
    feedback_matrices,
    feedback_spectra,
    kernel_bounds,
    weight_alignment,
)
from neurofa.linalg.spectra import ranks
from neurofa.training.learner import Learner, loss_and_teaching
from neurofa.training.replay import Credit, collect, preserved, record

JsonNumbers = dict[str, float | None]
"""Numbers by name; None where a quantity is not defined."""


@torch.no_grad()
def measure_alignment(learner: Learner, x: Tensor, target: Tensor, seed: int = 0) -> dict[str, Any]:
    """Measure on one batch how well a rule aligns with backpropagation: cosines, norms and ranks, layer by layer.

    Weights, device cells, pathway, running statistics, generators and the mode are left as they were, so that a run
    with measurements equals one without.

    Args:
        learner: network, rule and loss; measured in the network's present mode.
        x: (B, *input_shape).
        target: (B,) labels or (B, o) values.
        seed: of dropout masks and read noise in the measurement.

    Returns:
        JSON values; None where a quantity is not defined. ``loss``; ``error`` with the ranks of the output error
        (B, o); ``total`` with the alignment of all hidden layers; ``layers`` by name with, where defined:
        ``cosine``, ``delta_cosine``, ``delivered_cosine``, each with the norms of both sides
        (:class:`~neurofa.diagnostics.gradient_alignment.GradientAlignment`); ``update_norm`` and ``gradient_norm``,
        norms of the rule's and backpropagation's mean directions over all weights and biases of the layer;
        ``weight_norm``, ``relative_update`` (the ratio); ``weight_alignment``, and for convolutions
        ``weight_alignment_bound``, the largest that a kernel can have with this feedback; ``error_stable_rank``,
        ``error_effective_rank`` of the delivered errors (B, n); ``alignment_matrix`` with its conditioning, isotropy,
        residual and ranks; ``feedback`` of direct rules with its conditioning, orthogonality and norm.
    """
    network, rule = learner.network, learner.rule
    gen = generator(seed, "diagnostics", device=x.device)
    with preserved(network, rule):
        tick = record(network, rule, x, gen)
        loss, teaching = loss_and_teaching(learner.loss, tick.y, target)
        ours = collect(network, rule, tick, teaching, gen)
        bp = backprop_credit(network, tick, teaching, rule)
        feedback = feedback_matrices(rule, gen)
        weights = weight_alignment(network, rule, tick, feedback)
        bounds = kernel_bounds(network, rule, feedback)
        matrices = alignment_matrices(network, rule, tick, feedback)
        gradients = gradient_alignment(network, ours, bp)
        spectra = feedback_spectra(feedback)
    layers: dict[str, Any] = {}
    for name in network.names:
        if not tick.views[name].params:
            continue
        row: dict[str, Any] = {}
        if name in gradients:
            row |= asdict(gradients[name])
        row |= _norms(ours, bp, name, list(tick.views[name].params.values()), len(x))
        if name in weights:
            row["weight_alignment"] = weights[name]
        if name in bounds:
            row["weight_alignment_bound"] = bounds[name]
        if name in ours.errors:
            row |= _error_ranks(ours.errors[name], "error_")
        layers[name] = json_numbers(row)
        if name in matrices:
            layers[name]["alignment_matrix"] = json_numbers(matrices[name].to_dict())
        if name in spectra:
            layers[name]["feedback"] = json_numbers(asdict(spectra[name]))
    total = asdict(gradients["total"]) if "total" in gradients else {}
    return {
        **json_numbers({"loss": float(loss.value)}),
        "error": json_numbers(_error_ranks(loss.error)),
        "total": json_numbers(total),
        "layers": layers,
    }


def json_numbers(row: dict[str, float]) -> JsonNumbers:
    """Return a row with None for NaN and infinities, which JSON does not have."""
    return {k: v if math.isfinite(v) else None for k, v in row.items()}


def _error_ranks(error: Tensor, prefix: str = "") -> dict[str, float]:
    """Return the stable and the effective rank of the errors (B, ...) of one batch, flattened to (B, n)."""
    stable, effective = ranks(error.flatten(1))
    return {f"{prefix}stable_rank": stable, f"{prefix}effective_rank": effective}


def _norms(ours: Credit, bp: Credit, name: str, weights: list[Tensor], batch: int) -> dict[str, float]:
    size = _norm(weights)
    update = _norm(list(ours.directions.get(name, {}).values())) / batch
    return {
        "update_norm": update,
        "gradient_norm": _norm(list(bp.directions[name].values())) / batch,
        "weight_norm": size,
        "relative_update": update / size if size > 0 else math.nan,
    }


def _norm(tensors: list[Tensor]) -> float:
    """Return the Euclidean norm of several tensors together."""
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))
