"""NIR files checked: readable, complete, and the same graph as the one that a model gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from exports.checks import Check, guarded
from exports.extras import need
from exports.graph import Model
from exports.nir.write import feedback, forward
from hwmodels.errors import NeurofaError


def nir_checks(path: Path, model: Model | None) -> list[Check]:
    """Check a file; with a model also against the graph that it gives now.

    Raises:
        NeurofaError: no such file.
    """
    nir = need("nir")
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected a NIR file; check the path")
    try:
        graph = nir.read(path)
    except Exception as error:  # nir and h5py raise many classes
        return [
            Check(
                "opens", False, f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            )
        ]
    arrays = _arrays(graph)
    bad = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    found = [
        Check("opens", True, f"{len(graph.nodes)} nodes, {len(graph.edges)} edges, types agree"),
        Check("finite", not bad, f"NaN or infinity in '{bad[0]}'" if bad else "no NaN, no infinity"),
    ]
    if model is not None:
        found.append(guarded("against", lambda: _against(graph, arrays, model)))
    return found


def _arrays(graph: Any) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for name, node in graph.nodes.items():
        for key, value in vars(node).items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                found[f"{name}.{key}"] = value
    return found


def _against(graph: Any, arrays: dict[str, np.ndarray[Any, Any]], model: Model) -> Check:
    part = (
        str(graph.metadata.get("neurofa", {}).get("part", "forward")) if isinstance(graph.metadata, dict) else "forward"
    )
    wanted = _arrays(feedback(model) if "feedback" in part else forward(model, convert=True)[0])
    for name, value in wanted.items():
        if name not in arrays or arrays[name].shape != value.shape or not np.array_equal(arrays[name], value):
            return Check("against", False, f"'{name}' is not what the run holds")
    return Check("against", True, f"{len(wanted)} arrays are those of the run")
