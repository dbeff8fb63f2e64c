"""One training step of every rule, against direct feedback alignment and backpropagation."""

from __future__ import annotations

import functools

from experiments.benchmarks._suite import Case, Method, Suite
from experiments.benchmarks._work import Work, cnn, learned, mlp, plain
from hwmodels.registry import parts

BASELINE, BESIDE = "dfa", "bp"
LR = 1e-6
"""So small that no rule's numbers grow, whatever step it needs: the arithmetic is the same."""


class RulesSuite(Suite, name="rules"):
    """Every registered rule with its defaults and plain SGD; 'ratio' is the time of dfa over the rule's.

    ``mlp``: 784-1024-1024-1024-10, tanh, batch 128; ``mlp-256``: the same with 256 units; ``cnn``: the network cnn on
    32 x 32 colour images, batch 64. ``torch`` is plain torch with ``loss.backward()``. What a rule does once in many
    steps is in its samples as often as it falls due.
    """

    def cases(self) -> tuple[Case, ...]:
        return tuple(
            case(name, work) for name, work in (("mlp", mlp([1024] * 3)), ("mlp-256", mlp([256] * 3)), ("cnn", cnn()))
        )


def case(name: str, work: Work) -> Case:
    """All rules on one network, the baselines first."""
    rules = [BASELINE, BESIDE, *(rule for rule in parts("rule") if rule not in (BASELINE, BESIDE))]
    methods = [Method(name=rule, build=functools.partial(learned, work, 0.0, rule, lr=LR)) for rule in rules]
    methods.append(Method(name="torch", build=functools.partial(plain, work, 0.0)))
    return Case(name=name, methods=tuple(methods), beside=BESIDE)
