"""The budget of one run: errors and drift of its hardware feedback, and the costs of one update."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from experiments.data import Dataset, require_static
from experiments.reports.chips import build_profile
from experiments.runs.build import build_network, load_data
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.capabilities import Teaching
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.rule import Direct
from neurofa.costs import error_budget
from neurofa.costs.energy import update_costs
from neurofa.costs.writes import writes_per_update
from neurofa.training.learner import Learner, forward_pass

BudgetReport = dict[str, Any]
"""JSON values."""

UPDATES = 4
"""Updates of a copy of the network whose writes are counted."""


def budget_report(
    spec: RunSpec, model: Network | None, *, samples: int, after: Sequence[float], profile: str | None
) -> BudgetReport:
    """Return dynamic and static errors of the feedback, its drift, and the costs of one update.

    Args:
        spec: network, rule, data, device, optimizer, batch and seed.
        model: network of a finished run; None: initial weights.
        samples: training samples whose errors are projected.
        after: ages of the feedback matrix, s.
        profile: spec of a digital chip, for the energy of an operation.

    Returns:
        JSON values; ``dynamic`` is None where noise is not modelled, ``hardware`` None where feedback is exact.

    Raises:
        NeurofaError: an unknown or impossible part.
    """
    if not all(map(math.isfinite, after)):
        raise NeurofaError(f"got --after {max(after)}; expected seconds; give a number")
    chip = None if profile is None else build_profile(profile)
    dataset = require_static(load_data(spec.data), "a budget")
    network = build_network(spec, dataset) if model is None else model
    learner = _learner(spec, network)
    rule = learner.rule
    report: BudgetReport = {
        "rule": spec.rule,
        "data": spec.data,
        "network": network.spec,
        "device": spec.device,
        "samples": samples,
        "path": "chained" if rule.declares.chained else "direct",
        **_feedback_errors(spec, learner, dataset, samples, after),
    }
    batches = dataset.batches("train", spec.batch_size, generator(spec.seed, "order"))
    writes = writes_per_update(_learner(spec, copy.deepcopy(network)), itertools.islice(batches, UPDATES))
    costs = update_costs(network, rule, spec.batch_size, writes, chip)
    return report | {"costs": [asdict(line) for line in costs.lines], "not_modelled": list(costs.missing)}


def _learner(spec: RunSpec, network: Network) -> Learner:
    optimizer = build("optimizer", spec.optimizer)(network.parameters())
    scale = spec.feedback_scale
    return Learner(network, spec.rule, optimizer=optimizer, loss=spec.loss, seed=spec.seed, feedback_scale=scale)


def _feedback_errors(
    spec: RunSpec, learner: Learner, dataset: Dataset, samples: int, after: Sequence[float]
) -> BudgetReport:
    """Return hardware, dynamic errors, drift and static errors of a direct rule's feedback."""
    rule = learner.rule
    projection = rule.feedback.hardware() if isinstance(rule, Direct) and rule.feedback.slices else None
    if projection is None or not isinstance(rule, Direct):
        return {"hardware": None, "dynamic": [], "drift": [], "static": []}
    x, target = next(dataset.batches("train", samples))
    y = forward_pass(learner.network, x, gen=generator(spec.seed, "budget")).y
    outcome = learner.loss.evaluate(y, target)
    gen = generator(spec.seed, "budget noise")
    error = rule.encoder.quantize(rule.signal(Teaching(outcome.error, outcome.target)), gen)
    dynamic = error_budget.dynamic_errors(projection, error, gen)
    drift = error_budget.drift_errors(projection, error, gen, after)
    static = error_budget.static_errors(projection, generator(spec.seed, "budget static"))
    return {
        "hardware": projection.name,
        "dynamic": None if dynamic is None else [asdict(line) for line in dynamic],
        "drift": [asdict(line) for line in drift],
        "static": [asdict(line) for line in static],
    }
