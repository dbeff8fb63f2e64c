"""Rules that are one rule under several names on a task."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import find
from neurofa import Learner, build

STEPS = 3
"""Steps after which equal weights mean equal updates: later ones depend on what feedback learnt in earlier ones."""
SHAPE, CLASSES, BATCH = (2, 8, 8), 10, 8


def group_aliases(rules: Sequence[str], network: str) -> dict[str, list[str]]:
    """Return the rules that make different updates of a network without time, each with its other names there.

    Each rule takes a few steps on the same small drawn batch from the same seed; rules whose weights are then equal
    bit for bit are one rule. Of several names that of a class stands for all, then the first in the alphabet.

    Args:
        rules: names of rules.
        network: spec of a network that takes images, small enough for some steps.

    Returns:
        Other names by name, in the order of ``rules``. A rule that refuses the network stands alone.
    """
    found: dict[bytes | str, str] = {}
    others: dict[str, list[str]] = {}
    for rule in sorted(rules, key=lambda name: (not inspect.isclass(find("rule", name)), name)):
        mark = _weights_after(rule, network)
        first = found.setdefault(mark if mark is not None else rule, rule)
        others.setdefault(first, [])
        if first != rule:
            others[first].append(rule)
    return {rule: others[rule] for rule in rules if rule in others}


def _weights_after(rule: str, network: str) -> bytes | None:
    """Return the weights after some steps as bytes; None where the rule refuses the network."""
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, *SHAPE, generator=gen)
    y = torch.randint(CLASSES, (BATCH,), generator=gen)
    try:
        net = build("network", network, input_shape=SHAPE, outputs=CLASSES, seed=0)
        learner = Learner(net, rule, optimizer=torch.optim.SGD(net.parameters(), lr=0.01), seed=0)
        for _ in range(STEPS):
            learner.step(x, y)
    except NeurofaError:
        return None
    return b"".join(p.detach().numpy().tobytes() for p in net.parameters())
