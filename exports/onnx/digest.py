"""The digest of an ONNX model, in its own metadata, and all of its tensors with those of inner graphs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from exports.checks import FileCheck, error_text
from exports.files.optional import require_library
from hwmodels.errors import NeurofaError

KEY = "sha256"
"""Key of the digest in the metadata."""


def read_onnx(path: Path) -> Any:
    """Return the model of a file, which may be damaged still: see :func:`check_digest`.

    Raises:
        NeurofaError: no such file, or none that ONNX can read.
    """
    onnx = require_library("onnx")
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected an ONNX file; check the path")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf raises classes of its own
        raise NeurofaError(
            f"got '{path}', which cannot be read ({error_text(error)}); expected a whole ONNX file; export anew"
        ) from None
    if not model.opset_import or not model.graph.output:
        raise NeurofaError(f"got '{path}' without a graph; expected a whole ONNX file; export anew")
    return model


def model_digest(model: Any) -> str:
    """Return the SHA-256 of a model without its digest."""
    own = [prop for prop in model.metadata_props if prop.key == KEY]
    others = [prop for prop in model.metadata_props if prop.key != KEY]
    del model.metadata_props[:]  # and back again below: a copy may be 2 GiB large
    model.metadata_props.extend(others)
    try:
        return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    finally:
        model.metadata_props.extend(own)


def add_digest(model: Any) -> None:
    """Write the digest of a model into its metadata."""
    digest = model_digest(model)
    for index in reversed([i for i, prop in enumerate(model.metadata_props) if prop.key == KEY]):
        del model.metadata_props[index]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, digest


def check_digest(model: Any) -> FileCheck:
    """Compare a model with the digest in its metadata."""
    written = [prop.value for prop in model.metadata_props if prop.key == KEY]
    if not written:
        return FileCheck("digest", True, "none in the file: nothing to compare its numbers with")
    same = written == [model_digest(model)]
    return FileCheck("digest", same, "SHA-256 of the model" if same else "the model differs from what was written")


def graph_tensors(graph: Any, place: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield all numbers of a graph by name: initializers, attributes of nodes, and those of inner graphs.

    Args:
        graph: of ONNX.
        place: of an inner graph, for names.
    """
    to_array = require_library("onnx").numpy_helper.to_array
    for tensor in graph.initializer:
        yield place + tensor.name, to_array(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            name = f"{place}{node.name or node.op_type}.{attribute.name}"
            yield name, np.asarray([attribute.f, *attribute.floats], dtype=np.float64)
            for index, tensor in enumerate([*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]):
                yield f"{name}.{index}", to_array(tensor)
            inner = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
            for each in inner:
                yield from graph_tensors(each, f"{name}/")
