"""Alignment of the feedback with the transposed Jacobian: matrices, rows, delivered errors, share of descent steps.

Symbols: J_l = d y / d h_l of one sample (o, n_l), h_l the output of layer l; B_l^T (n_l, o) sends the output error e to
layer l, where backpropagation would send J_l^T e.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from hwmodels.registry import build
from neurofa.core.capabilities import Teaching
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, bind_rule
from neurofa.core.view import Tick
from neurofa.diagnostics.gradient_alignment import backprop_credit
from neurofa.diagnostics.measure import JsonNumbers, json_numbers
from neurofa.diagnostics.weight_alignment import feedback_matrices
from neurofa.linalg.spectra import UNDEFINED, cosine_similarity, mean_row_cosine
from neurofa.training.learner import Learner, loss_and_teaching
from neurofa.training.replay import Credit, collect, preserved, record, with_own_transposes


@dataclass(frozen=True, kw_only=True)
class FeedbackAlignment:
    """Alignment of one layer's feedback with the transposed Jacobian, on one batch."""

    matrix_cosine: float = UNDEFINED
    """cos_F(B_l^T, mean over samples of J_l^T); NaN for rules without a direct pathway."""
    row_cosine: float = UNDEFINED
    """Mean over the units i of cos(B_i, J_i), the rows of both matrices; NaN for rules without a direct pathway."""
    effective_rows: float = UNDEFINED
    """(sum_i |B_i|^2)^2 / sum_i |B_i|^4: number of units that still receive an error; NaN without direct pathway."""
    delivered_cosine: float
    """Mean over samples of cos(delivered error, J_l^T e)."""
    matrix_norm: float = UNDEFINED
    """||B_l||_F; NaN for rules without a direct pathway."""
    jacobian_norm: float
    """||mean J_l||_F: a cosine with a vanished Jacobian means nothing."""


def mean_jacobians(network: Network, rule: Rule, tick: Tick) -> dict[str, Tensor]:
    """Compute the mean over samples of J_l^T for every hidden layer with weights, (n_l, o), by o backward passes.

    Samples that batch normalisation couples are summed over, as backpropagation does.

    Args:
        network: in the mode in which the tick was recorded.
        rule: bound; only its plan is used.
        tick: from :func:`neurofa.training.replay.record`.
    """
    bp: Rule = build("rule", "bp")
    gen = generator(0, "jacobian")
    bind_rule(bp, rule.plan, gen)
    own = with_own_transposes(network, tick)
    columns: dict[str, list[Tensor]] = {site.name: [] for site in rule.plan.hidden}
    for unit in torch.eye(rule.plan.outputs, dtype=tick.y.dtype, device=tick.y.device):
        # the same unit error in every sample: layer l then receives one column of its J_l^T
        error = unit.expand_as(tick.y)
        credit = collect(network, bp, own, Teaching(error, error), gen)
        for name, of_layer in columns.items():
            of_layer.append(credit.errors[name].flatten(1).mean(0))
    return {name: torch.stack(of_layer, 1) for name, of_layer in columns.items()}


@torch.no_grad()
def feedback_alignment(learner: Learner, x: Tensor, target: Tensor, seed: int = 0) -> dict[str, FeedbackAlignment]:
    """Measure on one batch how well the feedback aligns with the transposed Jacobian, layer by layer.

    The run is not changed.

    Args:
        learner: network, rule and loss; measured in the network's present mode.
        x: (B, *input_shape).
        target: (B,) labels or (B, o) values.
        seed: of dropout masks, read noise and probes in the measurement.

    Returns:
        By name of the hidden layers that learn.

    Source: the figures that reviewers of GrAPE asked for (ICLR 2025 oRPXPoTXYz, ICLR 2026 kasbbmwk3s).
    """
    network, rule = learner.network, learner.rule
    gen = generator(seed, "feedback alignment", device=x.device)
    with preserved(network, rule):
        tick, ours, bp = _credits(learner, x, target, gen)
        feedback = feedback_matrices(rule, gen)
        jacobians = mean_jacobians(network, rule, tick)
    alignment = {}
    for name, j in jacobians.items():
        if name not in ours.errors:
            continue
        delivered = mean_row_cosine(ours.errors[name], bp.errors[name])
        row = FeedbackAlignment(delivered_cosine=delivered, jacobian_norm=float(j.norm()))
        if (b := feedback.get(name)) is not None:
            row = replace(
                row,
                matrix_cosine=cosine_similarity(b, j),
                row_cosine=mean_row_cosine(b, j),
                effective_rows=effective_rows(b),
                matrix_norm=float(b.norm()),
            )
        alignment[name] = row
    return alignment


@torch.no_grad()
def descent_share(learner: Learner, batches: Iterable[tuple[Tensor, Tensor]], seed: int = 0) -> float:
    """Return the share of batches on which a small step of the rule lowers the loss: <sum dW^rule, sum dW^bp> > 0.

    The product runs over all layers but the readout, whose step is backpropagation's own. NaN where no other layer
    learns.

    Args:
        learner: left as it was; its optimizer's state is ignored.
        batches: inputs (B, *input_shape) with targets.
        seed: of masks, noise and probes.
    """
    network, rule = learner.network, learner.rule
    descents = []
    for index, (x, target) in enumerate(batches):
        gen = generator(seed, "descent", str(index), device=x.device)
        with preserved(network, rule):
            _, ours, bp = _credits(learner, x, target, gen)
        products = [
            float((d.double() * bp.directions[name][key].double()).sum())
            for name, directions in ours.directions.items()
            if name != network.readout
            for key, d in directions.items()
        ]
        if products:
            descents.append(sum(products) > 0)
    return sum(descents) / len(descents) if descents else UNDEFINED


def effective_rows(b: Tensor) -> float:
    """Return (sum_i |B_i|^2)^2 / sum_i |B_i|^4 of a matrix (n, o): n for rows of one length, 1 for a single row."""
    squares = b.double().square().sum(1)
    total = float(squares.square().sum())
    return float(squares.sum()) ** 2 / total if total > 0 else UNDEFINED


def to_record(alignment: dict[str, FeedbackAlignment]) -> dict[str, JsonNumbers]:
    """Return the numbers by layer, as JSON values: None where a quantity is not defined."""
    return {name: json_numbers(asdict(row)) for name, row in alignment.items()}


def _credits(learner: Learner, x: Tensor, target: Tensor, gen: torch.Generator) -> tuple[Tick, Credit, Credit]:
    """Record one tick and return it with the credit that the rule and that backpropagation assign."""
    network, rule = learner.network, learner.rule
    tick = record(network, rule, x, gen)
    _, teaching = loss_and_teaching(learner.loss, tick.y, target)
    ours = collect(network, rule, tick, teaching, gen)
    return tick, ours, backprop_credit(network, tick, teaching, rule)
