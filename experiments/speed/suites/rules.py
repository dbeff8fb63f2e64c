"""One training step of every rule, against direct feedback alignment and backpropagation."""

from __future__ import annotations

from functools import partial

from experiments.speed.suite import SpeedCase, SpeedMethod, SpeedSuite
from experiments.speed.workloads import StepWorkload, cnn_workload, learner_step, mlp_workload, torch_step
from hwmodels.registry import parts

BASELINE, BESIDE = "dfa", "bp"


class RulesSuite(SpeedSuite, name="rules"):
    """Every registered rule with its defaults and plain SGD; 'ratio' is the time of dfa over the rule's.

    ``mlp``: 784-1024-1024-1024-10, tanh, batch 128; ``mlp-256``: the same with 256 units; ``cnn``: the network cnn on
    32 x 32 colour images, batch 64. ``torch`` is plain torch with ``loss.backward()``. What a rule does once in many
    steps is in its samples as often as it falls due.
    """

    def cases(self) -> tuple[SpeedCase, ...]:
        workloads = {"mlp": mlp_workload([1024] * 3), "mlp-256": mlp_workload([256] * 3), "cnn": cnn_workload()}
        return tuple(rules_case(name, workload) for name, workload in workloads.items())


def rules_case(name: str, workload: StepWorkload) -> SpeedCase:
    """Return all rules on one network as one case, the baselines first."""
    rules = [BASELINE, BESIDE, *(rule for rule in parts("rule") if rule not in (BASELINE, BESIDE))]
    methods = [SpeedMethod(name=rule, build=partial(learner_step, workload, rule)) for rule in rules]
    methods.append(SpeedMethod(name="torch", build=partial(torch_step, workload)))
    return SpeedCase(name=name, methods=tuple(methods), beside=BESIDE)
