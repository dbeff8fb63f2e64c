"""Does the feedback follow the Jacobian? Matrices, rows and delivered errors compared, and whether steps descend.

Symbols: J_l = d y / d h_l of one sample (o, n_l), h_l the output of layer l; B_l^T (n_l, o) sends the output error e to
layer l, where backpropagation would send J_l^T e.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from hwmodels.registry import build
from neurofa.core.capabilities import Teaching
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Rule, taught
from neurofa.core.view import Tick
from neurofa.diagnostics.alignment import feedback_matrices, shadow
from neurofa.linalg.spectra import NONE, cosine, mean_cosine
from neurofa.training.learner import Learner
from neurofa.training.replay import Credit, collect, preserved, record, with_own_transposes


@dataclass(frozen=True, kw_only=True)
class FeedbackAlignment:
    """How near the feedback of one layer is to the transposed Jacobian, on one batch."""

    matrix_cosine: float
    """cos_F(B_l^T, mean over samples of J_l^T); NaN for rules without a direct pathway."""
    row_cosine: float
    """Mean over the units i of cos(B_i, J_i), the rows of both matrices; NaN as above."""
    effective_rows: float
    """(sum_i |B_i|^2)^2 / sum_i |B_i|^4: how many units still get an error; NaN as above."""
    delivered_cosine: float
    """Mean over samples of cos(delivered error, J_l^T e)."""
    matrix_norm: float
    """||B_l||_F; NaN as above."""
    jacobian_norm: float
    """||mean J_l||_F: a cosine with a Jacobian that has vanished means nothing."""


def mean_jacobians(network: Network, rule: Rule, tick: Tick) -> dict[str, Tensor]:
    """Mean over samples of J_l^T for every hidden layer with weights, (n_l, o), by o passes of backpropagation.

    Samples that batch normalisation couples are summed over, as backpropagation does.

    Args:
        network: in the mode in which the tick was recorded.
        rule: bound; it lends its plan.
        tick: from :func:`neurofa.training.replay.record`.
    """
    bp: Rule = build("rule", "bp")
    gen = generator(0, "jacobian")
    bp.bind(rule.plan, gen)
    own = with_own_transposes(network, tick)
    columns: dict[str, list[Tensor]] = {site.name: [] for site in rule.plan.hidden}
    for unit in torch.eye(rule.plan.outputs, dtype=tick.y.dtype, device=tick.y.device):
        error = unit.expand_as(tick.y)
        credit = collect(network, bp, own, Teaching(error, error), gen)
        for name, found in columns.items():
            found.append(credit.errors[name].flatten(1).mean(0))
    return {name: torch.stack(found, 1) for name, found in columns.items()}


@torch.no_grad()
def feedback_alignment(learner: Learner, x: Tensor, target: Tensor, seed: int = 0) -> dict[str, FeedbackAlignment]:
    """Compare the feedback with the Jacobian, layer by layer, without touching the run.

    Args:
        learner: network, rule and loss; measured in the network's present mode.
        x: (B, *input_shape).
        target: (B,) labels or (B, o) values.
        seed: of dropout masks, read noise and probes in the measurement.

    ReturnWeights:
        By name of the hidden layers that learn.

    Source: the figures that reviewers of GrAPE asked for (ICLR 2025 oRPXPoTXYz, ICLR 2026 kasbbmwk3s).
    """
    network, rule = learner.network, learner.rule
    gen = generator(seed, "feedback alignment", device=x.device)
    with preserved(network, rule):
        tick, ours, bp = _both(learner, x, target, gen)
        feedback = feedback_matrices(rule, gen)
        jacobians = mean_jacobians(network, rule, tick)
    found = {}
    for name, j in jacobians.items():
        if name not in ours.errors:
            continue
        b = feedback.get(name)
        found[name] = FeedbackAlignment(
            matrix_cosine=NONE if b is None else cosine(b, j),
            row_cosine=NONE if b is None else mean_cosine(b, j),
            effective_rows=NONE if b is None else effective_rows(b),
            delivered_cosine=mean_cosine(ours.errors[name], bp.errors[name]),
            matrix_norm=NONE if b is None else float(b.norm()),
            jacobian_norm=float(j.norm()),
        )
    return found


@torch.no_grad()
def descent_share(learner: Learner, batches: Iterable[tuple[Tensor, Tensor]], seed: int = 0) -> float:
    """Share of batches on which a small step of the rule lowers the loss: <sum dW^rule, sum dW^bp> > 0 in all layers.

    The readout is left out: its step is backpropagation's own. NaN where nothing else learns.

    Args:
        learner: left as it was; its optimizer's state does not count.
        batches: inputs (B, *input_shape) with targets.
        seed: of masks, noise and probes.
    """
    network, rule = learner.network, learner.rule
    descents = []
    for index, (x, target) in enumerate(batches):
        gen = generator(seed, "descent", str(index), device=x.device)
        with preserved(network, rule):
            _, ours, bp = _both(learner, x, target, gen)
        products = [
            float((d.double() * bp.directions[name][key].double()).sum())
            for name, found in ours.directions.items()
            if name != network.readout
            for key, d in found.items()
        ]
        if products:
            descents.append(sum(products) > 0)
    return sum(descents) / len(descents) if descents else NONE


def effective_rows(b: Tensor) -> float:
    """(sum_i |B_i|^2)^2 / sum_i |B_i|^4: n for rows of one length, 1 where a single row is left.

    Args:
        b: (n, o).
    """
    squares = b.double().square().sum(1)
    total = float(squares.square().sum())
    return float(squares.sum()) ** 2 / total if total > 0 else NONE


def to_record(found: dict[str, FeedbackAlignment]) -> dict[str, dict[str, float | None]]:
    """The numbers by layer, as JSON values: None where a quantity is not defined."""
    return {
        name: {key: value if math.isfinite(value) else None for key, value in asdict(row).items()}
        for name, row in found.items()
    }


def _both(learner: Learner, x: Tensor, target: Tensor, gen: torch.Generator) -> tuple[Tick, Credit, Credit]:
    """One tick, and what the rule and what backpropagation make of it."""
    network, rule = learner.network, learner.rule
    tick = record(network, rule, x, gen)
    _, teaching = taught(learner.loss, tick.y, target)
    ours = collect(network, rule, tick, teaching, gen)
    return tick, ours, shadow(network, tick, teaching, rule)
