"""Contract of what a rule declares: its source, its locality and weight transport, and the FLOP of a step."""

from __future__ import annotations

from functools import partial

from hwmodels.registry import build
from hwmodels.testing.tools import require
from neurofa.audit.sequence import audit_sequence
from neurofa.audit.step import TRANSPORTS, audit
from neurofa.core.rule import Rule
from neurofa.costs.flops import step_flops
from neurofa.spiking.eligibility import as_ticks
from neurofa.testing.contract import Contract
from neurofa.testing.flops import FlopCounter
from neurofa.testing.samples import batch_for, random_batch, small_learner, small_network

DECLARATIONS = Contract("rule")


@DECLARATIONS
def builds_from_defaults(name: str) -> None:
    """A rule is built by its name alone and declares its source and which weights it transports."""
    DECLARATIONS.is_documented(name)
    rule = build("rule", name)
    require(isinstance(rule, Rule), f"rule '{name}' is a {type(rule).__name__}")
    require(rule.declares.transports in TRANSPORTS, f"rule '{name}' declares transports={rule.declares.transports!r}")


def is_as_declared(network: str, name: str) -> None:
    """The dependencies that poisoning finds on a small network are those that the rule declares.

    Args:
        network: short name or spec.
        name: registered name of the rule.
    """
    built = small_network(network)
    report = audit(name, built, *batch_for(built))
    require(report.local == report.declared_local, f"{report.verdict}: {report.dependencies}")
    require(report.transports == report.declared_transports, f"{report.verdict}: {report.dependencies}")


@DECLARATIONS
def is_as_declared_in_sequences(name: str) -> None:
    """Declared and found dependencies agree in a sequence; later ticks count only if the rule learns through time."""
    x, labels = random_batch(24)
    report = audit_sequence(name, small_network("snn"), as_ticks(x, 4), labels[:4])
    require(report.agrees, f"{report.verdict}: {report.dependencies}")
    future = {d.future_ticks for d in report.dependencies.values()}
    declared = "yes" if build("rule", name).declares.sequences.through_time else "no"
    require(future == {declared}, f"later ticks reach an update: {future}, declared {declared}")


def declares_the_flop_of_a_step(network: str, name: str) -> None:
    """The FLOP that the cost model counts for a step on a small network equal, to the FLOP, torch's count.

    Args:
        network: short name or spec.
        name: registered name of the rule.
    """
    learner, size = small_learner(name, network), 6
    declared = step_flops(learner, batch_size=size)
    for step in range(2):
        with FlopCounter() as counter:
            learner.step(*batch_for(learner.network, size, seed=step))
        expected = declared.at_step(step)
        message = f"step {step} took {counter.flop} FLOP, declared {expected}: {declared.by_phase()}"
        require(expected == counter.flop, message)


for _network in ("mlp", "cnn", "vit", "gpt", "snn"):
    DECLARATIONS.add(f"is_as_declared_on_{_network}", partial(is_as_declared, _network))
for _network in ("mlp", "cnn", "vgg", "vit", "gpt", "snn"):
    DECLARATIONS.add(f"declares_its_products_on_{_network}", partial(declares_the_flop_of_a_step, _network))
