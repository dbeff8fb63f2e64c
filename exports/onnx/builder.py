"""An ONNX graph under construction: names are generated here, and values become initializers.

A thin layer over ``onnx.helper``. onnxscript would add two dependencies and replace only :meth:`GraphBuilder.op`:
shared constants, the limit of 2 GiB, the body of a Scan and the strict checks would stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exports.checks import error_text
from exports.files.optional import require_library
from exports.onnx.digest import add_digest
from hwmodels.errors import NeurofaError
from hwmodels.files import write_atomic

OPSET, IR = 17, 8
"""Operator set of 2022, which the runtimes of the last years read; and the file version that belongs to it."""

LIMIT = 2**31 - 2**20
"""Bytes of one protocol buffer, with room for the graph."""

ValueType = tuple[torch.dtype, tuple[int | str, ...]]
"""Dtype and shape of an input or output; text in a shape is an open size."""


def value_type(*shape: int | str, dtype: torch.dtype = torch.float32) -> ValueType:
    """Return the type of an input or output from its shape."""
    return dtype, shape


class GraphBuilder:
    """Collect the operators and initializers of an ONNX graph.

    A value in the graph is known by its name: methods that add something take names of inputs, and return the name of
    the result.

    Args:
        prefix: beginning of all names, so that the body of a loop has other names than the graph around it.
    """

    def __init__(self, prefix: str = "") -> None:
        self.onnx = require_library("onnx")
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.prefix, self._count, self._bytes = prefix, 0, 0
        self._constants: dict[tuple[Any, ...], str] = {}

    def name(self, hint: str) -> str:
        """Return a name that is not taken yet."""
        self._count += 1
        return f"{self.prefix}{hint}_{self._count}"

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one output; return the output's name.

        Args:
            kind: ONNX name of the operator, such as ``MatMul``.
            inputs: names of its inputs.
            attributes: of the operator.
        """
        return self.ops(kind, *inputs, count=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """Add an operator with several outputs; return their names.

        Args:
            kind: ONNX name of the operator, such as ``MatMul``.
            inputs: names of its inputs.
            count: number of outputs.
            attributes: of the operator.
        """
        outputs = [self.name(kind.lower()) for _ in range(count)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), outputs, name=self.name(kind), **attributes))
        return outputs

    def rename(self, value: str, name: str) -> str:
        """Add the value called ``value`` once more under another name, such as that of an output; return this name."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name], name=self.name("Identity")))
        return name

    def weight(self, name: str, values: Tensor | np.ndarray[Any, Any]) -> str:
        """Add an initializer of that name.

        Raises:
            NeurofaError: all initializers together are larger than one protocol buffer can be.
        """
        numbers = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        if self._bytes + numbers.nbytes > LIMIT:
            raise NeurofaError(
                f"got {(self._bytes + numbers.nbytes) / 2**30:.2f} GiB of weights for one ONNX file; expected below 2"
                " GiB, the limit of its encoding; export to HDF5"
            )
        if name not in self.initializers:
            self._bytes += numbers.nbytes
            self.initializers[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(numbers), name)
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Add a small constant; equal ones are shared."""
        numbers = np.asarray(value, dtype=dtype)
        key = (numbers.dtype.str, numbers.shape, numbers.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(self.name("c"), numbers)
        return self._constants[key]

    def sizes(self, *sizes: int) -> str:
        """Add a constant of whole numbers, as shapes and axes are."""
        return self.constant(sizes, np.int64)

    def reshape(self, x: str, *sizes: int) -> str:
        """Add ``x`` in another shape; 0 keeps a size, -1 is computed."""
        return self.op("Reshape", x, self.sizes(*sizes))

    def sum(self, x: str, axes: Sequence[int], *, keep: bool = False) -> str:
        """Add the sum of ``x`` over some axes.

        Args:
            x: the input.
            axes: to sum over.
            keep: leave them as axes of size 1.
        """
        return self.op("ReduceSum", x, self.sizes(*axes), keepdims=int(keep))

    def mean(self, x: str, axes: Sequence[int], *, keep: bool = True) -> str:
        """Add the mean of ``x`` over some axes.

        Args:
            x: the input.
            axes: to average over.
            keep: leave them as axes of size 1.
        """
        return self.op("ReduceMean", x, axes=list(axes), keepdims=int(keep))

    def cast(self, x: str, dtype: torch.dtype = torch.float32) -> str:
        """Add ``x`` in another dtype."""
        return self.op("Cast", x, to=self.dtype_number(dtype))

    def positive(self, x: str) -> str:
        """Add 1 where ``x`` > 0, else 0."""
        return self.cast(self.op("Greater", x, self.constant(0.0)))

    def ones_like(self, x: str) -> str:
        """Add ones of the shape of ``x``."""
        return self.op("Add", self.op("Mul", x, self.constant(0.0)), self.constant(1.0))

    def normal_cdf(self, x: str) -> str:
        """Add the distribution function of the normal law, (1 + erf(x / sqrt 2)) / 2."""
        erf = self.op("Erf", self.op("Mul", x, self.constant(0.5**0.5)))
        return self.op("Mul", self.op("Add", erf, self.constant(1.0)), self.constant(0.5))

    def dtype_number(self, dtype: torch.dtype) -> int:
        """Return the number of a dtype in ONNX."""
        number: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(str(dtype).removeprefix("torch.")))
        return number

    def graph(self, name: str, inputs: Mapping[str, ValueType], outputs: Mapping[str, ValueType]) -> Any:
        """Return the ONNX graph of all that was added.

        Args:
            name: of the graph.
            inputs: types of the inputs by name, in order.
            outputs: types of the outputs by name, in order.
        """
        ends = self._value_infos(inputs), self._value_infos(outputs)
        return self.onnx.helper.make_graph(self.nodes, name, *ends, list(self.initializers.values()))

    def _value_infos(self, shapes: Mapping[str, ValueType]) -> list[Any]:
        make = self.onnx.helper.make_tensor_value_info
        return [make(name, self.dtype_number(dtype), shape) for name, (dtype, shape) in shapes.items()]

    def model(
        self, name: str, inputs: Mapping[str, ValueType], outputs: Mapping[str, ValueType], metadata: Mapping[str, Any]
    ) -> Any:
        """Return the ONNX model of all that was added, checked, with the shapes of all inner values.

        Args:
            name: of the graph.
            inputs: types of the inputs by name, in order.
            outputs: types of the outputs by name, in order.
            metadata: JSON values by key.

        Raises:
            NeurofaError: the checker refuses it, with its reason.
        """
        helper = self.onnx.helper
        versions = {"ir_version": IR, "opset_imports": [helper.make_opsetid("", OPSET)]}
        model = helper.make_model(self.graph(name, inputs, outputs), producer_name="neurofa", **versions)
        helper.set_model_props(model, {key: _text(value) for key, value in metadata.items()})
        return checked_model(model)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def checked_model(model: Any) -> Any:
    """Return a model with inferred shapes that ONNX's checker accepts.

    Raises:
        NeurofaError: it does not, with its reason.
    """
    onnx = require_library("onnx")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(inferred, full_check=True)
    except Exception as error:  # onnx has no common base for its errors
        raise NeurofaError(
            f"got an ONNX graph that its checker refuses ({error_text(error)}); expected a valid one; report it with"
            " the network's spec"
        ) from None
    return inferred


def write_onnx(model: Any, path: Path) -> None:
    """Write a model with a digest of its graph and numbers in its metadata; the file appears whole or not at all.

    Raises:
        NeurofaError: the place cannot be written.
    """
    add_digest(model)
    write_atomic(path, model.SerializeToString())
