"""ONNX files checked: valid, complete, runnable, and the same numbers as torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exports.checks import FileCheck, guarded
from exports.graph.model import Model
from exports.onnx.builder import checked_model
from exports.onnx.comparison import compare_with_learner
from exports.onnx.digest import check_digest, graph_tensors, read_onnx
from exports.onnx.runtime import Runtime
from neurofa.core.randomness import generator
from neurofa.training.learner import Learner


def onnx_checks(path: Path, learner: Learner | None, model: Model | None, inputs: Tensor | None) -> list[FileCheck]:
    """Check a file; with a learner also against what torch computes.

    Args:
        path: the file.
        learner: to compare with; None: the file alone is checked.
        model: that learner's neutral graph.
        inputs: real data, (B, ...), or (T, B, ...) for a network with a memory; None: random ones.

    Raises:
        NeurofaError: no such file, or none that can be read.
    """
    loaded = read_onnx(path)
    about = {prop.key: prop.value for prop in loaded.metadata_props}
    part = about.get("part", "")
    complete = all(about.get(key) for key in ("format", "format_version", "part"))
    checks = [
        FileCheck("opens", True, f"opset {loaded.opset_import[0].version}, {len(loaded.graph.node)} nodes"),
        guarded("digest", lambda: check_digest(loaded)),
        guarded("checker", lambda: _check_validity(loaded)),
        FileCheck("metadata", complete, f"part {part}" if complete else "format, format_version or part is missing"),
    ]
    if not all(check.ok for check in checks):
        return checks
    checks += [guarded("finite", lambda: _check_finite(loaded)), guarded("runs", lambda: _check_run(loaded))]
    if learner is not None and model is not None:
        checks.append(guarded("against", lambda: compare_with_learner(part, Runtime(loaded), learner, model, inputs)))
    return checks


def _check_validity(model: Any) -> FileCheck:
    checked_model(model)
    outside = sorted({node.domain for node in model.graph.node if node.domain})
    if outside:
        return FileCheck("checker", False, f"custom operators of {', '.join(outside)}")
    return FileCheck("checker", True, "onnx.checker with full shape inference, standard operators alone")


def _check_finite(model: Any) -> FileCheck:
    bad = [name for name, values in graph_tensors(model.graph) if values.dtype.kind == "f" and not _finite(values)]
    detail = f"NaN or infinity in '{bad[0]}'" if bad else "no NaN, no infinity in any graph"
    return FileCheck("finite", not bad, detail)


def _finite(values: np.ndarray[Any, Any]) -> bool:
    return bool(np.isfinite(values).all())


def random_feeds(runtime: Runtime, sizes: dict[str, int], seed: int = 0) -> dict[str, Tensor]:
    """Draw normal numbers for all inputs of a graph; labels are 0.

    Args:
        runtime: the graph.
        sizes: size of each open axis, by its name.
        seed: of the draw.
    """
    gen, feeds = generator(seed, "onnx"), {}
    for value in runtime.session.get_inputs():
        shape = [sizes.get(n, 1) if isinstance(n, str) else n for n in value.shape]
        labels = value.type == "tensor(int64)"
        feeds[value.name] = torch.zeros(shape, dtype=torch.int64) if labels else torch.randn(shape, generator=gen) * 0.1
    return feeds


def _check_run(model: Any) -> FileCheck:
    runtime = Runtime(model)
    for sizes in ({"B": 2, "T": 3}, {"B": 5, "T": 1}):
        for name, value in runtime(random_feeds(runtime, sizes)).items():
            if not bool(value.isfinite().all()):
                return FileCheck("runs", False, f"output '{name}' is not finite")
    return FileCheck("runs", True, "onnxruntime, batches of 2 and 5")
