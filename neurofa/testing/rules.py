"""Contract of learning rules: they learn, reproducibly, from errors alone, and persist."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.testing.tools import require, require_equal
from neurofa.core.capabilities import Teaching
from neurofa.core.randomness import generator
from neurofa.testing.contract import Contract, require_finite, snapshot
from neurofa.testing.rule_declarations import DECLARATIONS
from neurofa.testing.rule_settings import SETTINGS
from neurofa.testing.samples import batch_for, plain_sgd, random_batch, small_learner, small_network
from neurofa.training.learner import Learner
from neurofa.training.replay import collect, record

CONTRACT = Contract("rule")
CONTRACT.include(DECLARATIONS)
CONTRACT.include(SETTINGS)


def _require_same_run(one: Learner, other: Learner) -> None:
    """Require equal weights and equal pathways."""
    require_equal(snapshot(one.network), snapshot(other.network), "network")
    require_equal(snapshot(one.rule), snapshot(other.rule), "pathway")


def learns_on(network: str, name: str) -> None:
    """Two steps on a small network give finite numbers and change all hidden layers (or none, for a control).

    Args:
        network: short name or spec.
        name: registered name of the rule.
    """
    learner = small_learner(name, network)
    before = snapshot(learner.network)
    for step in range(2):
        result = learner.step(*batch_for(learner.network, seed=step))
        require(bool(result.loss.isfinite()) and bool(result.y.isfinite().all()), "loss or output is not finite")
    after = snapshot(learner.network)
    require_finite(after)
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    require(any(f".{learner.network.readout}." in f".{key}" for key in changed), "the readout did not change")
    hidden = {site.name for site in learner.rule.plan.hidden}
    moved = {layer for layer in hidden if any(f".{layer}.synapses." in key for key in changed)}
    require(moved in (hidden, set()), f"only {sorted(moved)} of the hidden layers {sorted(hidden)} changed")


for _network in ("mlp", "cnn", "vit", "gpt", "snn"):
    CONTRACT.add(f"learns_on_{_network}", partial(learns_on, _network))


@CONTRACT
def is_deterministic(name: str) -> None:
    """Equal seeds give equal weights and feedback, bit for bit, with dropout as well."""
    one, other = (small_learner(name, "mlp(hidden=[12, 10], dropout=0.5)", seed=3) for _ in range(2))
    for learner in (one, other):
        for step in range(3):
            learner.step(*random_batch(seed=step))
    _require_same_run(one, other)


@CONTRACT
def pathway_persists(name: str) -> None:
    """A run goes on in another process from its state dicts and generators alone."""
    first, resumed = small_learner(name, seed=0), small_learner(name, seed=1)
    for step in range(2):
        first.step(*random_batch(seed=step))
    resumed.network.load_state_dict(first.network.state_dict())
    resumed.rule.load_state_dict(first.rule.state_dict())
    resumed.gen.set_state(first.gen.get_state())
    if first.rule.gen is None or resumed.rule.gen is None:
        raise AssertionError("a bound rule has no generator")
    resumed.rule.gen.set_state(first.rule.gen.get_state())
    resumed.steps = first.steps
    for learner in (first, resumed):
        learner.step(*random_batch(seed=7))
    _require_same_run(first, resumed)


@CONTRACT
def zero_error_gives_no_update(name: str) -> None:
    """Without an error the directions of weights and pathway are zero."""
    learner = small_learner(name)
    x, labels = random_batch()
    gen = generator(0, "check")
    tick = record(learner.network, learner.rule, x, gen)
    target = learner.loss.evaluate(tick.y, labels).target
    no_error = Teaching(torch.zeros_like(tick.y), target, error_for=torch.zeros_like)
    credit = collect(learner.network, learner.rule, tick, no_error, gen)
    for of_layers, what in ((credit.directions, "weight"), (credit.plastic, "pathway")):
        for layer, directions in of_layers.items():
            for key, direction in directions.items():
                require(not bool(direction.count_nonzero()), f"{what} '{key}' of {layer} would change")


@CONTRACT
def evaluation_changes_nothing(name: str) -> None:
    """Computing outputs leaves weights, pathway, generators and the mode as they were."""
    learner = small_learner(name, "cnn")
    learner.step(*random_batch())

    def state() -> dict[str, Tensor]:
        tensors = {f"network.{k}": v for k, v in snapshot(learner.network).items()}
        tensors |= {f"rule.{k}": v for k, v in snapshot(learner.rule).items()}
        generators = enumerate((learner.gen, learner.rule.gen))
        return tensors | {f"gen.{i}": g.get_state() for i, g in generators if g is not None}

    before = state()
    first, second = (learner.evaluate(random_batch(seed=2)[0]) for _ in range(2))
    require(torch.equal(first, second), "two evaluations differ")
    require(learner.network.training, "the network was left in evaluation mode")
    require_equal(state(), before, "evaluation")


@CONTRACT
def refuses_nan(name: str) -> None:
    """NaN in a batch is an error that names the layer, and no weight has been changed."""
    learner = small_learner(name)
    before = snapshot(learner.network)
    x, labels = random_batch()
    x[0] = float("nan")
    try:
        learner.step(x, labels)
    except NeurofaError as error:
        require(learner.network.names[0] in str(error), f"the message names no layer: {error}")
    else:
        raise AssertionError("a batch with NaN was learnt from")
    require_equal(snapshot(learner.network), before, "after the refusal")


@CONTRACT
def trains_beyond_chance(name: str) -> None:
    """Thirty steps on one batch lower its loss."""
    network = small_network("mlp")
    learner = Learner(network, name, optimizer=plain_sgd(network, 0.05))
    x, labels = random_batch(16)
    losses = [float(learner.step(x, labels).loss) for _ in range(30)]
    require(losses[-1] < losses[0], f"loss went from {losses[0]:.3f} to {losses[-1]:.3f}")


rule_checks, check_rule = CONTRACT.named, CONTRACT.hold
