"""An ONNX graph under construction: names are made here, and values become initializers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exports.files.optional import need
from hwmodels.errors import NeurofaError

OPSET, IR = 17, 8
"""Operator set of 2022, which runtimes of the last years read; and the file version that belongs to it."""

LIMIT = 2**31 - 2**20
"""Bytes of one protocol buffer, with room for the graph."""


class Builder:
    """Collects nodes and initializers.

    Args:
        inside: names of the graph around this one, so that a loop's body makes other ones.
    """

    def __init__(self, inside: str = "") -> None:
        self.onnx = need("onnx")
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.inside, self._count, self._bytes = inside, 0, 0
        self._constants: dict[tuple[Any, ...], str] = {}

    def name(self, hint: str) -> str:
        """A name that is not taken yet."""
        self._count += 1
        return f"{self.inside}{hint}_{self._count}"

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operator with one output; returns its name."""
        return self.ops(kind, *inputs, count=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """One operator with several outputs; returns their names."""
        outputs = [self.name(kind.lower()) for _ in range(count)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), outputs, name=self.name(kind), **attributes))
        return outputs

    def rename(self, value: str, name: str) -> str:
        """The same value under the name of an output."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name], name=self.name("Identity")))
        return name

    def weight(self, name: str, values: Tensor | np.ndarray[Any, Any]) -> str:
        """An initializer of that name.

        Raises:
            NeurofaError: all initializers together are larger than one protocol buffer can be.
        """
        numbers = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        if self._bytes + numbers.nbytes > LIMIT:
            raise NeurofaError(
                f"got {(self._bytes + numbers.nbytes) / 2**30:.2f} GiB of weights for one ONNX file; expected below 2"
                " GiB,"
                " the limit of its encoding; export to HDF5"
            )
        if name not in self.initializers:
            self._bytes += numbers.nbytes
            self.initializers[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(numbers), name)
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A small constant; equal ones are shared."""
        numbers = np.asarray(value, dtype=dtype)
        key = (numbers.dtype.str, numbers.shape, numbers.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(self.name("c"), numbers)
        return self._constants[key]

    def sizes(self, *sizes: int) -> str:
        """A constant of whole numbers, as shapes and axes are."""
        return self.constant(sizes, np.int64)

    def reshape(self, x: str, *sizes: int) -> str:
        """``x`` in another shape; 0 keeps a size, -1 is found."""
        return self.op("Reshape", x, self.sizes(*sizes))

    def sum(self, x: str, axes: Sequence[int], *, keep: bool = False) -> str:
        """Sum over some axes."""
        return self.op("ReduceSum", x, self.sizes(*axes), keepdims=int(keep))

    def mean(self, x: str, axes: Sequence[int], *, keep: bool = True) -> str:
        """Mean over some axes."""
        return self.op("ReduceMean", x, axes=list(axes), keepdims=int(keep))

    def graph(self, name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
        """The graph; ``inputs`` and ``outputs`` are (dtype, shape), where text in a shape is an open size."""
        make = self.onnx.helper.make_tensor_value_info
        return self.onnx.helper.make_graph(
            self.nodes, name,
            [make(key, self.type(dtype), shape) for key, (dtype, shape) in inputs.items()],
            [make(key, self.type(dtype), shape) for key, (dtype, shape) in outputs.items()],
            list(self.initializers.values()),
        )  # fmt: skip

    def type(self, dtype: torch.dtype) -> int:
        """The number by which ONNX calls a dtype."""
        found: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(str(dtype).removeprefix("torch.")))
        return found

    def model(
        self, name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> Any:
        """The checked model, with the shapes of everything inside.

        Raises:
            NeurofaError: the checker refuses it, with its reason.
        """
        made = self.onnx.helper.make_model(
            self.graph(name, inputs, outputs), ir_version=IR,
            opset_imports=[self.onnx.helper.make_opsetid("", OPSET)], producer_name="neurofa",
        )  # fmt: skip
        self.onnx.helper.set_model_props(made, {key: text(value) for key, value in metadata.items()})
        return checked(made)


def text(value: Any) -> str:
    """A value of metadata as text."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def checked(model: Any) -> Any:
    """A model with inferred shapes that ONNX's checker accepts.

    Raises:
        NeurofaError: it does not, with its reason.
    """
    onnx = need("onnx")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(inferred, full_check=True)
    except Exception as error:  # onnx has no common base for its errors
        raise NeurofaError(
            f"got an ONNX graph that its checker refuses ({str(error).splitlines()[0]}); expected a valid one; report"
            " it"
            " with the network's spec"
        ) from None
    return inferred


def save(model: Any, path: Path) -> None:
    """Write a model whole.

    Raises:
        NeurofaError: the place cannot be written.
    """
    from hwmodels.files import write_atomic

    write_atomic(path, model.SerializeToString())
