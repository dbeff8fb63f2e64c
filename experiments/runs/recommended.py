"""What a run has where its user chooses no optimizer: the one that its rule recommends."""

from __future__ import annotations

from hwmodels.registry import find
from hwmodels.spec import parse

RECOMMENDED = "recommended"
"""Word that stands for it; the fields of a run never hold it, so that a stored run says what it was trained with."""
AUTO = "auto"
"""Word that stands for the optimizer whose rate short runs find (:mod:`experiments.runs.rate_search`)."""
PLAIN = "sgd(lr=0.1)"
"""What every run had before rules recommended anything, and what a rule has that recommends nothing."""


def recommended_optimizer(rule: str, network: str) -> str:
    """Return the spec of the optimizer that a rule recommends for a network.

    Args:
        rule: its spec; the options do not count.
        network: its spec; the options do not count.

    Raises:
        NeurofaError: an unknown name.
    """
    # a recipe that is a function declares by attributes; one of a third party may declare nothing
    kind = getattr(find("network", parse(network).name), "trains_as", "dense")
    recommended = getattr(find("rule", parse(rule).name), "recommended", None)
    return PLAIN if recommended is None else str(recommended.on(kind))
