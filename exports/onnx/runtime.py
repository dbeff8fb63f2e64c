"""Running ONNX graphs in onnxruntime, on one thread, as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from exports.files.optional import need


class Runtime:
    """A session of onnxruntime.

    Args:
        model: a model, or the path of a file.
    """

    def __init__(self, model: Any) -> None:
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        source = model if isinstance(model, str | bytes) else model.SerializeToString()
        self.session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.inputs = [put.name for put in self.session.get_inputs()]
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)

    def __call__(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs by name, for inputs by name."""
        found = self.session.run(None, {key: value.detach().cpu().contiguous().numpy() for key, value in feeds.items()})
        return {name: torch.from_numpy(value) for name, value in zip(self.outputs, found, strict=True)}
