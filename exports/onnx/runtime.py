"""ONNX graphs run in onnxruntime, on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from exports.checks import error_text
from exports.files.optional import require_library
from hwmodels.errors import NeurofaError


class Runtime:
    """A session of onnxruntime.

    Args:
        model: a model, or the path of a file.

    Raises:
        NeurofaError: onnxruntime refuses it.
    """

    def __init__(self, model: Any) -> None:
        runtime = require_library("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        source = model if isinstance(model, str | bytes) else model.SerializeToString()
        try:
            self.session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base for its errors
            raise NeurofaError(
                f"got an ONNX graph that onnxruntime refuses ({error_text(error)}); expected a whole one; export anew"
            ) from None
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)

    def __call__(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return all outputs by name.

        Args:
            feeds: inputs by name; those that the graph does not have are left out.
        """
        arrays = {key: value.detach().cpu().contiguous().numpy() for key, value in feeds.items() if key in self.inputs}
        outputs = self.session.run(None, arrays)
        return {name: torch.from_numpy(value) for name, value in zip(self.outputs, outputs, strict=True)}
