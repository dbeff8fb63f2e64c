"""Everything worth logging about a rule at work: alignment, ranks and norms on one batch, without touching the run."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from neurofa.alignment import (
    alignment_matrices,
    feedback_matrices,
    gradient_alignment,
    kernel_bounds,
    shadow,
    weight_alignment,
)
from neurofa.learner import Learner
from neurofa.randomness import generator
from neurofa.replay import Credit, collect, preserved, record
from neurofa.rule import Teaching
from neurofa.spectra import effective_rank, stable_rank

Numbers = dict[str, float | None]


@torch.no_grad()
def measure(learner: Learner, x: Tensor, target: Tensor, seed: int = 0) -> dict[str, Any]:
    """Measure one batch: what the rule would do, and what backpropagation would do in its place.

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
        ``cosine``, ``delta_cosine``, ``delivered_cosine`` (:class:`~neurofa.alignment.GradientAlignment`);
        ``update_norm`` and ``gradient_norm``, norms of the rule's and backpropagation's mean directions over all
        weights of the layer; ``weight_norm``, ``relative_update`` (the ratio); ``weight_alignment``, and for
        convolutions ``weight_alignment_bound``, the largest that a kernel can have with this feedback;
        ``error_stable_rank``, ``error_effective_rank`` of the delivered errors (B, n); ``alignment_matrix`` with its
        conditioning, isotropy, residual and ranks.
    """
    network, rule = learner.network, learner.rule
    gen = generator(seed, "diagnostics", device=x.device)
    with preserved(network, rule):
        tick = record(network, rule, x, gen)
        outcome = learner.loss.outcome(tick.y, target)
        teaching = Teaching(outcome.error, outcome.target)
        ours = collect(network, rule, tick, teaching, gen)
        bp = shadow(network, tick, teaching, rule)
        feedback = feedback_matrices(rule, gen)
        weights = weight_alignment(network, rule, tick, feedback)
        bounds = kernel_bounds(network, rule, feedback)
        matrices = alignment_matrices(network, rule, tick, feedback)
        gradients = gradient_alignment(network, ours, bp)
    layers: dict[str, Any] = {}
    for name in network.names:
        if not tick.views[name].params:
            continue
        row: dict[str, Any] = {}
        if name in gradients:
            g = gradients[name]
            row |= {"cosine": g.cosine, "delta_cosine": g.delta_cosine, "delivered_cosine": g.delivered_cosine}
        row |= _norms(ours, bp, name, list(tick.views[name].params.values()), len(x))
        if name in weights:
            row["weight_alignment"] = weights[name]
        if name in bounds:
            row["weight_alignment_bound"] = bounds[name]
        if name in ours.errors:
            row |= error_ranks(ours.errors[name], "error_")
        layers[name] = defined(row)
        if name in matrices:
            layers[name]["alignment_matrix"] = defined(matrices[name].to_dict())
    total: dict[str, Any] = {}
    if "total" in gradients:
        t = gradients["total"]
        total = {"cosine": t.cosine, "delta_cosine": t.delta_cosine, "delivered_cosine": t.delivered_cosine}
    return {
        "loss": defined({"loss": float(outcome.value)})["loss"],
        "error": defined(error_ranks(outcome.error)),
        "total": defined(total),
        "layers": layers,
    }


def error_ranks(error: Tensor, prefix: str = "") -> dict[str, float]:
    """Stable and effective rank of the errors of one batch.

    Args:
        error: (B, ...), flattened to (B, n).
        prefix: of the names.
    """
    rows = error.flatten(1)
    return {f"{prefix}stable_rank": stable_rank(rows), f"{prefix}effective_rank": effective_rank(rows)}


def defined(row: dict[str, float]) -> Numbers:
    """JSON has no NaN and no infinity: None instead."""
    return {k: v if math.isfinite(v) else None for k, v in row.items()}


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
    """Euclidean norm of several tensors together."""
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))
