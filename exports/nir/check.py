"""NIR files checked: readable, complete, and the same graph as the one that a model gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from exports.checks import FileCheck, guarded
from exports.files.optional import need
from exports.graph.model import Model
from exports.graph.reference import run
from exports.nir import run as reader
from exports.nir.write import feedback, forward, zeroed
from exports.programming.spike_probes import TICKS, drawn
from hwmodels.errors import NeurofaError

CLOSE = 1e-5
"""Largest difference of outputs, of their largest or of 1."""


def nir_checks(path: Path, model: Model | None, inputs: Tensor | None = None) -> list[FileCheck]:
    """Check a file; with a model also against the graph that it gives now, and spike for spike.

    Args:
        path: the file.
        model: of the run to compare with.
        inputs: (T, B, *input_shape) of its data; None: random spikes.

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
            FileCheck(
                "opens", False, f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            )
        ]
    arrays = _arrays(graph)
    bad = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    found = [
        FileCheck("opens", True, f"{len(graph.nodes)} nodes, {len(graph.edges)} edges, types agree"),
        FileCheck("finite", not bad, f"NaN or infinity in '{bad[0]}'" if bad else "no NaN, no infinity"),
    ]
    if model is not None:
        found.append(guarded("against", lambda: _against(graph, arrays, model)))
        if model.spiking and "feedback" not in _about(graph).get("part", "") and all(check.ok for check in found):
            xs = drawn(model.input_shape, TICKS, 4, 0) if inputs is None else inputs
            found.append(guarded("spikes", lambda: _spikes(graph, model, xs)))
    return found


def _about(graph: Any) -> dict[str, str]:
    own = graph.metadata.get("neurofa", {}) if isinstance(graph.metadata, dict) else {}
    return {str(key): str(value) for key, value in own.items()}


def _spikes(graph: Any, model: Model, xs: Tensor) -> FileCheck:
    """The file, run from its own numbers, against the run's network as NIR can say it."""
    got, (output, spikes) = reader.run(graph, xs), run(zeroed(model), xs)
    differ = sum(int((got[f"spikes.{name}"] != z).sum()) for name, z in spikes.items())
    off, size = float((got["output"] - output).abs().amax()), max(1.0, float(output.abs().amax()))
    said = f"{differ} spikes differ, of {sum(int(z.sum()) for z in spikes.values())}; outputs {off:.2e} off"
    if _about(graph).get("reset_converted", "no") != "no":
        own = run(model, xs)[1]
        slots = sum(z.numel() for z in own.values())
        moved = sum(int((own[name] != z).sum()) for name, z in spikes.items())
        said += f"; resets were converted: {moved / slots:.2%} of all slots differ from the run's own spikes"
    return FileCheck("spikes", differ == 0 and off <= CLOSE * size, said)


def _arrays(graph: Any) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for name, node in graph.nodes.items():
        for key, value in vars(node).items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                found[f"{name}.{key}"] = value
    return found


def _against(graph: Any, arrays: dict[str, np.ndarray[Any, Any]], model: Model) -> FileCheck:
    part = _about(graph).get("part", "forward")
    if "feedback" in part:
        made = feedback(model)
    else:
        ticks = {float(node.metadata["neurofa"]["dt"]) for node in graph.nodes.values() if hasattr(node, "v_leak")}
        made = forward(model, convert=True, dt=ticks.pop() if len(ticks) == 1 else None)[0]
    wanted = _arrays(made)
    for name, value in wanted.items():
        if name not in arrays or arrays[name].shape != value.shape or not np.array_equal(arrays[name], value):
            return FileCheck("against", False, f"'{name}' is not what the run holds")
    return FileCheck("against", True, f"{len(wanted)} arrays are those of the run")
