"""What a run has where its user chooses nothing: the optimizer that its rule recommends, a network for its data."""

from __future__ import annotations

import typing
from collections.abc import Mapping

from experiments.data.sequences import Sequences
from hwmodels.registry import find
from hwmodels.spec import parse

RECOMMENDED = "recommended"
"""Word that stands for it; the fields of a run never hold it, so that a stored run says what it was trained with."""
AUTO = "auto"
"""Word that stands for the optimizer whose rate short runs find (:mod:`experiments.runs.rate_search`)."""
PLAIN = "sgd(lr=0.1)"
"""What every run had before rules recommended anything, and what a rule has that recommends nothing."""
SPIKING = "snn"
"""Network for sequences: the default of a run, which has no memory, would take every tick for a sample."""


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


def makes_sequences(data: str) -> bool:
    """Return whether a data set has ticks, from the type that it declares to return; nothing is loaded.

    Args:
        data: its spec.

    Raises:
        NeurofaError: an unknown name.
    """
    made = typing.get_type_hints(find("data", parse(data).name)).get("return")
    return isinstance(made, type) and issubclass(made, Sequences)


def with_network(chosen: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Return the fields of a run with a spiking network where the data are sequences and no network is chosen.

    Args:
        chosen: fields that the user chose.
    """
    if "network" in chosen or not makes_sequences(str(chosen.get("data", "digits"))):
        return dict(chosen)
    return {**chosen, "network": SPIKING}
