"""A tracer of torch modules that knows the values: sizes are numbers, and what cannot be traced is called as it is."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from neurofa.maps.wrapped import first_line

MODEL = "model"
"""Name of the traced module inside of the tracer's root."""
OPENED = (nn.Sequential, nn.TransformerEncoder)
"""Torch's own modules that are traced: they only call others in turn."""
FACTORIES = ("arange", "empty", "eye", "full", "linspace", "ones", "rand", "randn", "zeros")
"""Functions of torch that take sizes and no tensor, so that torch does not hand them to a tracer."""
READS_NUMBERS = frozenset({"item", "tolist", "numpy", "nonzero", "__len__"})
"""Methods by which a forward begins to depend on the numbers in a tensor."""

Pair = tuple[Any, Any]
"""What one node gives for each of two batches."""


@dataclass(eq=False)
class ModuleCall:
    """One call of a module during the trace.

    Args:
        path: the module's name in the model.
        kind: its class.
        parent: the call inside of which it was made.
        leaf: whether the module is called as it is.
    """

    path: str
    kind: type[nn.Module]
    parent: ModuleCall | None
    leaf: bool = False
    items: list[fx.Node | ModuleCall] = field(default_factory=list)
    """Own nodes and calls of other modules, in order."""

    def nodes(self) -> Iterator[fx.Node]:
        """Return all nodes, those of inner calls too, in order."""
        for item in self.items:
            if isinstance(item, ModuleCall):
                yield from item.nodes()
            else:
                yield item


class Root(nn.Module):
    """Calls the model once, so that the model is a call like those of its parts.

    Args:
        model: the model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        """Return what the model gives."""
        return self.model(x)


class _ValueProxy(fx.Proxy):
    """Stands for a node; attributes that are numbers are read from its value."""

    tracer: ValueTracer

    def __getattr__(self, name: str) -> Any:
        value = self.tracer.values[self.node][0]
        if callable(getattr(value, name)):
            return fx.proxy.Attribute(self, name)
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __len__(self) -> int:
        return self.tracer.length(self)


class ValueTracer(fx.Tracer):
    """Tracer that runs every node on two batches of different size.

    What is the same number for both (a width, a number of tokens) is that number from then on, so that loops over it
    and conditions on it can be traced; the size of the batch stays a node. A module whose forward cannot be traced
    (because it branches on numbers in a tensor, say) is called as it is, and named in ``untraced``.

    Args:
        batches: two batches (B, *input_shape) of different B and different numbers.
        leaves: names of modules that are called as they are.
    """

    proxy_buffer_attributes = True

    def __init__(self, batches: tuple[Tensor, Tensor], leaves: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.batches, self.leaves = batches, leaves
        self.values: dict[fx.Node, Pair] = {}
        self.same_as: dict[fx.Node, fx.Node] = {}
        """Nodes that give one of their own inputs back (operations in place), with the node that made it."""
        self.without_gradient: set[fx.Node] = set()
        """Nodes that the forward makes where gradients are switched off."""
        self.untraced: dict[str, str] = {}
        """Modules that could not be traced, with the reason."""
        self.top = ModuleCall("", Root, None)
        self._inside = [self.top]
        self._running = False
        self._cache: dict[str, Any] = {}

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return the stand-in of a node."""
        return _ValueProxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module is called as it is: torch's own, those with hooks, and those that were named."""
        if module_qualified_name in self.leaves or isinstance(m, torch.jit.ScriptModule):
            return True
        hooks = (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks, m._backward_pre_hooks)
        if any(hooks) or "forward" in vars(m):
            return True
        return type(m).__module__.startswith("torch.nn") and type(m) not in OPENED

    def trace_model(self, model: nn.Module) -> fx.Graph:
        """Return the graph of a model; the model is used up, since tracing may leave stand-ins in it.

        Args:
            model: in the mode that is traced.
        """
        with _recording_factories(self):
            return self.trace(Root(model))

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """Trace the call of a module; what cannot be traced becomes one node."""
        if self._running:
            return forward(*args, **kwargs)
        path = self.path_of_module(m)
        call = ModuleCall(path, type(m), self._inside[-1], leaf=self.is_leaf_module(m, path))
        before, stack, seen = list(self.graph.nodes), dict(self.module_stack), dict(self.num_calls)
        self._inside[-1].items.append(call)
        self._inside.append(call)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:
            if call.leaf:
                raise
            self._forget(set(before))
            self.module_stack.clear()
            self.module_stack.update(stack)
            self.num_calls.update(seen)
            self.untraced[path] = first_line(error)
            self.leaves |= {path}
            call.leaf, call.items = True, []
            return super().call_module(m, forward, args, kwargs)
        finally:
            self._inside.pop()

    def _forget(self, kept: set[fx.Node]) -> None:
        """Erase the nodes of a trace that failed."""
        for node in reversed(list(self.graph.nodes)):
            if node not in kept:
                self.graph.erase_node(node)
                self.values.pop(node, None)
                self.same_as.pop(node, None)
        for name in [name for name, proxy in self._cache.items() if proxy.node not in kept]:
            del self._cache[name]

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Return a stand-in for a parameter or buffer."""
        if self._running:
            return attr_val
        self._cache = parameter_proxy_cache
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Refuse a condition on numbers that depend on the batch."""
        raise fx.proxy.TraceError(f"its forward branches on '{obj.node.name}', which depends on the input")

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Return the parts of a tuple or a shape; a tensor has none, since its first axis are samples."""
        return iter(
            [self.create_proxy("call_function", operator.getitem, (obj, i), {}) for i in range(self.length(obj))]
        )

    def length(self, obj: fx.Proxy) -> int:
        """Return the number of parts of a tuple or a shape, where it does not depend on the batch."""
        first, second = self.values[obj.node]
        if isinstance(first, Tensor) or len(first) != len(second):
            raise fx.proxy.TraceError(f"its forward counts or iterates over '{obj.node.name}', a batch")
        return len(first)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **options: Any) -> Any:
        """Create a node, run it on both batches, and return a stand-in or the number that it always gives."""
        if kind == "call_method" and target in READS_NUMBERS:
            raise fx.proxy.TraceError(f"its forward reads numbers out of a tensor by '{target}'")
        proxy = super().create_proxy(kind, target, args, kwargs, *more, **options)
        node: fx.Node = proxy.node
        if kind == "output":
            return proxy
        kept = [n for n in node.all_input_nodes if n.op == "get_attr" and isinstance(self._value(n), Tensor)]
        versions = [self._value(n)._version for n in kept]
        pair: Pair = (self._run(node, 0), self._run(node, 1)) if kind != "placeholder" else self._input()
        for held, version in zip(kept, versions, strict=True):
            if self._value(held)._version != version:
                raise fx.proxy.TraceError(f"its forward changes '{held.target}' in place")
        if kind in ("call_function", "call_method") and self._is_number(node, pair):
            self.graph.erase_node(node)
            return pair[0]
        self.values[node] = pair
        for given in node.all_input_nodes:
            if isinstance(pair[0], Tensor) and pair[0] is self.values[given][0]:
                self.same_as[node] = self.same_as.get(given, given)
        self._inside[-1].items.append(node)
        # what is computed without gradients has none
        if kind.startswith("call") and not torch.is_grad_enabled() and isinstance(pair[0], Tensor):
            with torch.enable_grad():
                detached = proxy.detach()
            self.without_gradient |= {node, detached.node}
            return detached
        return proxy

    def _input(self) -> Pair:
        first, second = (x.clone() for x in self.batches)
        return first, second

    def _value(self, node: fx.Node) -> Any:
        """Return what a node gives for the first batch."""
        if node not in self.values:  # a tensor that the forward made without the input
            self.values[node] = (self._run(node, 0), self._run(node, 1))
        return self.values[node][0]

    def _run(self, node: fx.Node, index: int) -> Any:
        """Return what a node gives for one of the batches."""
        for given in node.all_input_nodes:
            self._value(given)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda given: self.values[given][index])
        self._running = True
        try:
            with torch.no_grad():
                if node.op == "call_function":
                    return node.target(*args, **kwargs)  # type: ignore[operator]
                if node.op == "call_method":
                    return getattr(args[0], str(node.target))(*args[1:], **kwargs)
                found: Any = self.root
                for name in str(node.target).split("."):
                    found = getattr(found, name)
                return found if node.op == "get_attr" else found(*args, **kwargs)
        finally:
            self._running = False

    def _is_number(self, node: fx.Node, pair: Pair) -> bool:
        """Return whether a node gives the same number, size, type or place for both batches."""
        first, second = pair
        if not _plain(first) or type(first) is not type(second) or first != second:
            return False
        # a condition on the size of a batch may differ for a third size
        return not isinstance(first, bool) or all(isinstance(self.values[n][0], Tensor) for n in node.all_input_nodes)


def _plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return value is None or isinstance(value, int | float | str | torch.device | torch.dtype)


@contextmanager
def _recording_factories(tracer: ValueTracer) -> Iterator[None]:
    """Let functions that make a tensor of a size become nodes where the size is one."""

    def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            found = any(isinstance(each, fx.Proxy) for each in pytree.tree_leaves((args, kwargs)))
            return tracer.create_proxy("call_function", function, args, kwargs) if found else function(*args, **kwargs)

        return call

    kept = {name: getattr(torch, name) for name in FACTORIES}
    for name, function in kept.items():
        setattr(torch, name, recorded(function))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(torch, name, function)
