"""Candidate settings of a method, from which validation data chooses."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.sweeps.study import Fields

SGD, MOMENTUM = "sgd(lr={lr})", "sgd(lr={lr}, momentum=0.9)"


def rate_grid(rule: str, rates: Iterable[float], optimizer: str = SGD, **fields: object) -> list[Fields]:
    """Return one setting of a run for each learning rate.

    Args:
        rule: spec of the learning rule.
        rates: learning rates.
        optimizer: spec of the optimizer, with ``{lr}`` in the place of the learning rate.
        fields: further fields of the run, such as ``device`` or ``network``.
    """
    return [{"rule": rule, "optimizer": optimizer.format(lr=lr), **fields} for lr in rates]
