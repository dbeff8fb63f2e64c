"""Pieces of a traced model as modules: the model's own where a piece is one, else a module made of its calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from neurofa.interop.modules import Named
from neurofa.interop.tracing.flow import ValueFlow
from neurofa.interop.tracing.tracer import MODEL

AS_MODULES: dict[Any, type[nn.Module]] = {
    functional.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    torch.relu_: nn.ReLU,
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
    torch.tanh: nn.Tanh,
    functional.tanh: nn.Tanh,
    "tanh": nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
    functional.sigmoid: nn.Sigmoid,
    "sigmoid": nn.Sigmoid,
    functional.gelu: nn.GELU,
    functional.silu: nn.SiLU,
    functional.max_pool2d: nn.MaxPool2d,
    functional.avg_pool2d: nn.AvgPool2d,
    torch.flatten: nn.Flatten,
    "flatten": nn.Flatten,
}
"""Functions and methods of one tensor that a module of torch does as well."""


def path_of(node: fx.Node) -> str:
    """Return the name in the model of the module or tensor that a node uses."""
    return str(node.target).removeprefix(MODEL).removeprefix(".")


def as_module(flow: ValueFlow, model: nn.Module, node: fx.Node) -> Named | None:
    """Return the module that does what one node does to its only input; None: there is none.

    Args:
        flow: of the model.
        model: whose modules are used.
        node: one of the flow.
    """
    carried = [given for given in node.all_input_nodes if given in flow.carried]
    if len(carried) != 1 or not node.args or node.args[0] is not carried[0]:
        return None
    if node.op == "call_module":
        alone = len(node.args) == 1 and not node.kwargs
        return (path_of(node), model.get_submodule(path_of(node))) if alone else None
    if len(node.all_input_nodes) > 1:
        return None
    kind = AS_MODULES.get(node.target)
    x, y = flow.values[carried[0]][0], flow.values[node][0]
    if kind is None and node.target in ("view", "reshape"):
        return (node.name, nn.Flatten()) if x.dim() > 2 and y.shape == x.flatten(1).shape else None
    if kind is None:
        return None
    options = dict(node.kwargs)
    options |= dict(zip(_names(node.target)[1:], node.args[1:], strict=False))
    if kind is nn.Flatten and options.get("start_dim", 0) == 0:
        return None
    known = inspect.signature(kind).parameters
    try:
        module = kind(**{key: value for key, value in options.items() if key in known and key != "inplace"})
    except TypeError:
        return None
    return node.name, module


def _names(target: Callable[..., Any] | str) -> tuple[str, ...]:
    """Return the names of a function's parameters, as the modules that do the same call them."""
    if target in (torch.flatten, "flatten"):
        return ("input", "start_dim", "end_dim")
    if target is functional.max_pool2d:
        return ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    if target is functional.avg_pool2d:
        return ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    if isinstance(target, str) or not inspect.isfunction(target):
        return ("input",)
    return tuple(inspect.signature(target).parameters)


class PieceBuilder:
    """Makes modules of consecutive nodes of a traced model, with the model's own parameters and buffers.

    Args:
        flow: of the model.
        model: the model itself; its parts are shared, not copied.
    """

    def __init__(self, flow: ValueFlow, model: nn.Module) -> None:
        self.flow, self.model = flow, model
        self.dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

    def piece(self, nodes: Sequence[fx.Node], source: fx.Node, result: fx.Node) -> fx.GraphModule:
        """Return the module of one tensor that does what these nodes do.

        Args:
            nodes: consecutive ones of the flow.
            source: the node whose tensor alone enters them.
            result: the node whose tensor alone leaves them.
        """
        graph, used = fx.Graph(), dict[str, Any]()
        x = graph.placeholder("x")
        made: dict[fx.Node, fx.Node] = {}
        current: dict[fx.Node, fx.Node] = {
            self.flow.maker(source): x
        }  # the last node that gives a tensor, by its maker

        def copied(node: fx.Node) -> fx.Node:
            if node in self.flow.carried and self.flow.real(node):
                return made[node] if node in made else current[self.flow.maker(node)]
            if node not in made:
                if node in self.flow.carried and self.flow.is_batch_size(node):
                    made[node] = graph.call_method("size", (x, 0))
                else:
                    made[node] = take(node)
            return made[node]

        def take(node: fx.Node) -> fx.Node:
            for given in node.all_input_nodes:
                copied(given)
            if node.op in ("get_attr", "call_module"):
                path = path_of(node)
                used[path] = self._find(str(node.target))
            new = graph.node_copy(node, copied)
            if node.op in ("get_attr", "call_module"):
                new.target = path
            new.args, new.kwargs = self._placed(graph, x, new, self.flow.values[source][0].dtype)
            return new

        for node in nodes:
            made[node] = take(node)
            current[self.flow.maker(node)] = made[node]
        graph.output(current[self.flow.maker(result)])
        graph.lint()
        return fx.GraphModule(used, graph, "Piece")

    def _find(self, target: str) -> Any:
        found: Any = self.flow.tracer.root if not target.startswith(MODEL) else self.model
        for name in target.removeprefix(MODEL).removeprefix(".").split("."):
            found = getattr(found, name) if name else found
        return found

    def _placed(self, graph: fx.Graph, x: fx.Node, node: fx.Node, dtype: torch.dtype) -> tuple[Any, Any]:
        """Let the place and the number format of the model follow the input, lest they are fixed by the trace."""
        like = self.flow.values[self.flow.input][0]

        def follow(value: Any) -> Any:
            name = None
            if isinstance(value, torch.device) and value == like.device:
                name = "device"
            elif isinstance(value, torch.dtype) and value == self.dtype == dtype:
                name = "dtype"
            if name is None:
                return value
            with graph.inserting_before(node):
                return graph.call_function(getattr, (x, name))

        return fx.node.map_aggregate(node.args, follow), fx.node.map_aggregate(node.kwargs, follow)


def tensors_of(flow: ValueFlow, model: nn.Module, nodes: Sequence[fx.Node]) -> dict[int, tuple[str, Tensor]]:
    """Return the parameters, and the buffers that their modules change, which nodes use, by place in memory.

    Args:
        flow: of the model.
        model: the model.
        nodes: of the flow.
    """
    found: dict[int, tuple[str, Tensor]] = {}
    seen, waiting = set[fx.Node](), list(nodes)
    while waiting:
        node = waiting.pop()
        for given in node.all_input_nodes:
            if given not in flow.carried and given not in seen:
                seen.add(given)
                waiting.append(given)
        path = path_of(node)
        if node.op == "call_module":
            part = model.get_submodule(path)
            own = [*part.named_parameters(), *part.named_buffers()]
            found |= {_place(tensor): (f"{path}.{key}".lstrip("."), tensor) for key, tensor in own}
        elif node.op == "get_attr" and str(node.target).startswith(MODEL):
            owner = model.get_submodule(path.rpartition(".")[0])
            tensor = getattr(owner, path.rpartition(".")[2])
            if isinstance(tensor, nn.Parameter):
                found[_place(tensor)] = (path, tensor)
    return found


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.numel() else id(tensor)
