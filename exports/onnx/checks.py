"""ONNX files checked: valid, complete, runnable, and the same numbers as torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.checks import FileCheck, error_text, guarded
from exports.files.optional import require_library
from exports.graph.model import Model
from exports.onnx.builder import checked_model
from exports.onnx.comparison import compare_with_learner
from exports.onnx.runtime import Runtime
from hwmodels.errors import NeurofaError
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
        NeurofaError: no such file.
    """
    onnx = require_library("onnx")
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected an ONNX file; check the path")
    try:
        loaded = onnx.load(path)
    except Exception as error:  # protobuf raises classes of its own
        return [FileCheck("opens", False, f"cannot be read ({error_text(error)})")]
    about = {prop.key: prop.value for prop in loaded.metadata_props}
    part = about.get("part", "")
    complete = all(about.get(key) for key in ("format", "format_version", "part"))
    checks = [
        FileCheck("opens", True, f"opset {loaded.opset_import[0].version}, {len(loaded.graph.node)} nodes"),
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
    to_array = require_library("onnx").numpy_helper.to_array
    values = {i.name: torch.from_numpy(to_array(i).copy()) for i in model.graph.initializer}
    bad = [name for name, array in values.items() if not array.double().isfinite().all()]
    detail = f"NaN or infinity in '{bad[0]}'" if bad else "no NaN, no infinity in the weights"
    return FileCheck("finite", not bad, detail)


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
