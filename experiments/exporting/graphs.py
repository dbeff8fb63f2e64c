"""Runs made of graphs of other simulators, without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.data import Sequences
from experiments.runs.build import load_data
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError
from neurofa.networks.nir import NIR

CLOSE = 1e-3
"""Relative difference from which ticks are of other lengths."""


def graph_run(recipe: NIR, chosen: Mapping[str, Any]) -> RunSpec:
    """Return the run without epochs that holds the network of a NIR file.

    Args:
        recipe: of the network.
        chosen: other fields of the run.

    Raises:
        NeurofaError: no such file, or no data.
    """
    pinned = recipe.pinned()
    if "data" not in chosen:
        raise NeurofaError(
            f"got '{recipe.path}' without data; expected the data set on which its network works; name it: --data"
        )
    return RunSpec(**chosen, network=pinned.spec, epochs=0)


def other_tick(recipe: NIR, data: str) -> str:
    """Return what a user should know of the lengths of ticks, in one line; empty where they agree or none is stated.

    Args:
        recipe: of the network.
        data: spec of the data.
    """
    dataset = load_data(data)
    if recipe.dt is None or not isinstance(dataset, Sequences) or not dataset.tick:
        return ""
    if abs(recipe.dt / dataset.tick - 1) <= CLOSE:
        return ""
    return (
        f"the network runs in ticks of {recipe.dt:g} s, and each tick of data {dataset.name} stands for"
        f" {dataset.tick:g} s: time constants are shorter or longer there than in the file"
    )
