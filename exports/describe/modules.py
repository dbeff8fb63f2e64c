"""A torch module as a list of operations, with the batch left open."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from exports.graph.operations import Free, Op, Ref
from hwmodels.errors import NeurofaError
from neurofa.core.randomness import generator


@dataclass(frozen=True)
class Trace:
    """The operations that a traced module computes in evaluation mode."""

    ops: tuple[Op, ...]
    """In the order in which they are computed."""
    placeholders: dict[str, str]
    """Name in the operations by the module's own name of a parameter or buffer."""
    constants: dict[str, Tensor]
    """Tensors that are no state of the module, by their name in the operations."""
    result: str
    """Name of the operation whose result is the module's output."""


def trace(module: nn.Module, in_shape: tuple[int, ...], like: Tensor) -> Trace:
    """List a module's operations in evaluation mode, in ATen's core operator set; the input is called ``x``.

    Args:
        module: (B, *in_shape) to one tensor.
        in_shape: shape of one sample.
        like: dtype and device of the input.

    Raises:
        NeurofaError: the module cannot be traced (Python that depends on the data), with torch's reason.
    """
    from torch.export import Dim, export

    x = torch.zeros(2, *in_shape).to(like)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = export(_Entry(module.eval()), (x,), dynamic_shapes=({0: Dim("B", min=2)},)).run_decompositions()
    except Exception as error:  # torch.export raises many classes, none of them common to its versions
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise NeurofaError(
            f"got a {type(module).__name__} that cannot be traced ({reason}); expected a module without branches on its"
            " data; write it with torch operations alone"
        ) from None
    signature = program.graph_signature
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    lifted = signature.inputs_to_lifted_tensor_constants
    ops, renamed = [], dict[str, str]()
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name not in named and node.name not in lifted:
                renamed[node.name] = "x"
        elif node.op == "call_function" and not isinstance(node.meta["val"], torch.SymInt | int):
            target = node.target.__name__ if not hasattr(node.target, "_schema") else str(node.target)
            args = tuple(_plain(a, renamed) for a in node.args)
            kwargs = {k: _plain(v, renamed) for k, v in node.kwargs.items() if k not in _IGNORED}
            rank = getattr(node.meta["val"], "ndim", 0)
            ops.append(Op(name=node.name, target=target.removeprefix("aten."), args=args, kwargs=kwargs, rank=rank))
    (result,) = signature.user_outputs
    return Trace(
        ops=tuple(ops),
        placeholders={name.removeprefix("module."): key for key, name in named.items()},
        constants={key: program.constants[name] for key, name in lifted.items()},
        result=renamed.get(result, result),
    )


@torch.no_grad()
def example_of(module: nn.Module, in_shape: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return a drawn input of three samples, and the module's output for it in evaluation mode.

    Args:
        module: (B, *in_shape) to one tensor.
        in_shape: shape of one sample.
        like: dtype and device of the input.
    """
    x = torch.randn(3, *in_shape, generator=generator(0, "example")).to(like)
    return x, module.eval()(x.clone())


_IGNORED = ("memory_format", "pin_memory", "layout", "device")


class _Entry(nn.Module):
    """Wraps a module so that its input is called ``x``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.module(x)
        return y


def _plain(value: Any, renamed: dict[str, str]) -> Any:
    if isinstance(value, torch.fx.Node):
        if isinstance(value.meta["val"], torch.SymInt | int):
            return Free()
        return Ref(renamed.get(value.name, value.name))
    if isinstance(value, list | tuple):
        return tuple(_plain(v, renamed) for v in value)
    return str(value) if isinstance(value, torch.dtype) else value
