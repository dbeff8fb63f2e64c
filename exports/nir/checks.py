"""NIR files checked: readable, complete, and the same graph as the one of a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from exports.checks import FileCheck, error_text, from_faults, guarded, seal_check
from exports.files.optional import require_library
from exports.files.seal import seal_holds
from exports.graph.model import Model
from exports.graph.reference import run_ticks
from exports.hdf5.apart import require_readable
from exports.hdf5.layout import require_plausible
from exports.nir.digest import check_digest
from exports.nir.reset import with_zero_reset
from exports.nir.run import NEURONS, run_nir
from exports.nir.write import feedback_to_nir, network_to_nir
from exports.programming.spike_probes import TICKS, random_spikes
from hwmodels.errors import NeurofaError

TIMES = ("tau", "tau_mem", "tau_syn")
"""Constants of nodes by which an interval is divided."""
CLOSE = 1e-5
"""Largest difference of outputs, relative to the largest of them or to 1."""

Arrays = dict[str, np.ndarray[Any, Any]]


def nir_checks(path: Path, model: Model | None, inputs: Tensor | None = None) -> list[FileCheck]:
    """Check a NIR file; with a model, also compare its arrays with those of the model, and its spikes.

    Args:
        path: the file.
        model: neutral graph of the run to compare with; None: the file alone is checked.
        inputs: (T, B, *input_shape) of its data; None: random spikes.

    Raises:
        NeurofaError: no such file, or none that can be read.
    """
    graph = read_nir(path)
    arrays, about = _float_arrays(graph), _metadata(graph)
    bad = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    checks = [
        FileCheck("opens", True, f"{len(graph.nodes)} nodes, {len(graph.edges)} edges, types agree"),
        seal_check(seal_holds(path)),
        check_digest(path),
        FileCheck("finite", not bad, f"NaN or infinity in '{bad[0]}'" if bad else "no NaN, no infinity"),
        guarded("constants", lambda: from_faults("constants", _time_faults(graph), "time constants above 0")),
    ]
    if model is not None:
        checks.append(guarded("against", lambda: _check_arrays(graph, arrays, model)))
        if model.spiking and "feedback" not in about.get("part", "") and all(check.ok for check in checks):
            xs = random_spikes(model.input_shape, TICKS, 4, 0) if inputs is None else inputs
            checks.append(guarded("spikes", lambda: _check_spikes(graph, model, xs)))
    return checks


def read_nir(path: Path) -> Any:
    """Return the graph of a file, which may be damaged still.

    Raises:
        NeurofaError: no such file, or none that NIR can read.
    """
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected a NIR file; check the path")
    nir = require_library("nir")
    if not seal_holds(path):
        require_readable(path)
    try:
        with require_library("h5py").File(path, "r") as file:
            require_plausible(file)
        graph = nir.read(path)
    except Exception as error:  # nir and h5py raise many classes
        raise NeurofaError(
            f"got '{path}', which cannot be read ({error_text(error)}); expected a whole NIR file; export anew"
        ) from None
    if not isinstance(getattr(graph, "nodes", None), dict):
        raise NeurofaError(f"got '{path}' without a graph; expected a whole NIR file; export anew")
    return graph


def _metadata(graph: Any) -> dict[str, str]:
    own = graph.metadata.get("neurofa", {}) if isinstance(graph.metadata, dict) else {}
    return {str(key): str(value) for key, value in own.items()}


def _check_spikes(graph: Any, model: Model, xs: Tensor) -> FileCheck:
    """Run the file from its own numbers, and compare it with the run's network as NIR can express it."""
    computed, (output, spikes) = run_nir(graph, xs), run_ticks(with_zero_reset(model), xs)
    differ = sum(int((computed[f"spikes.{name}"] != z).sum()) for name, z in spikes.items())
    error, size = float((computed["output"] - output).abs().amax()), max(1.0, float(output.abs().amax()))
    detail = f"{differ} spikes differ, of {sum(int(z.sum()) for z in spikes.values())}; outputs {error:.2e} off"
    if _metadata(graph).get("reset_converted", "no") != "no":
        own = run_ticks(model, xs)[1]
        slots = sum(z.numel() for z in own.values())
        moved = sum(int((own[name] != z).sum()) for name, z in spikes.items())
        detail += f"; resets were converted: {moved / slots:.2%} of all slots differ from the run's own spikes"
    return FileCheck("spikes", differ == 0 and error <= CLOSE * size, detail)


def _float_arrays(graph: Any) -> Arrays:
    return {
        f"{name}.{key}": value
        for name, node in _all_nodes(graph)
        for key, value in vars(node).items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }


def _all_nodes(graph: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the nodes of a graph, and of the graphs inside it, by name."""
    for name, node in graph.nodes.items():
        yield place + name, node
        if isinstance(getattr(node, "nodes", None), dict):
            yield from _all_nodes(node, f"{place}{name}/")


def _time_faults(graph: Any) -> list[str]:
    return [
        f"{key} of '{name}' is {float(np.min(value)):g}; expected above 0"
        for name, node in _all_nodes(graph)
        for key, value in vars(node).items()
        if key in TIMES and value is not None and np.size(value) and not np.all(np.asarray(value, dtype=np.float64) > 0)
    ]


def _check_arrays(graph: Any, arrays: Arrays, model: Model) -> FileCheck:
    if "feedback" in _metadata(graph).get("part", "forward"):
        expected = feedback_to_nir(model)
    else:
        neurons = [node for node in graph.nodes.values() if type(node).__name__ in NEURONS]
        ticks = {float(node.metadata["neurofa"]["dt"]) for node in neurons}
        expected = network_to_nir(model, convert=True, dt=ticks.pop() if len(ticks) == 1 else None)[0]
    wanted = _float_arrays(expected)
    for name, value in wanted.items():
        if name not in arrays or arrays[name].shape != value.shape or not np.array_equal(arrays[name], value):
            return FileCheck("against", False, f"'{name}' is not what the run holds")
    return FileCheck("against", True, f"{len(wanted)} arrays are those of the run")
