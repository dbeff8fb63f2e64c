"""The network that a run has where its user chooses none and its data are sequences."""

from __future__ import annotations

import typing
from collections.abc import Mapping

from experiments.data.sequences import Sequences
from hwmodels.registry import find
from hwmodels.spec import parse

SPIKING = "snn"
"""Network for sequences: the default of a run, which has no memory, would take every tick for a sample."""


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
