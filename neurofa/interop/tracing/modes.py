"""The trace of a model that holds in training and in evaluation mode."""

from __future__ import annotations

from torch import Tensor, fx, nn

from hwmodels.errors import NeurofaError
from neurofa.interop.tracing.flow import ValueFlow
from neurofa.interop.tracing.tracer import MODEL, ModuleCall, ValueTracer
from neurofa.maps.wrapped import independent_copy


def traced(model: nn.Module, batches: tuple[Tensor, Tensor], leaves: frozenset[str] = frozenset()) -> ValueFlow:
    """Return the flow of values through a model, the same in both modes.

    A part whose forward does other things in training than in evaluation, beyond what torch's own modules do by
    themselves, is called as it is.

    Args:
        model: stays as it is; copies are traced.
        batches: two batches (B, *input_shape) of different B and numbers.
        leaves: names of modules that are called as they are.

    Raises:
        NeurofaError: the model gives something else than one tensor.
    """
    found: dict[str, str] = {}
    while True:
        flows = []
        for training in (True, False):
            tracer = ValueTracer(batches, leaves)
            graph = tracer.trace_model(independent_copy(model).train(training))
            found |= tracer.untraced
            leaves |= tracer.leaves
            flows.append(ValueFlow(graph, tracer))
        other = _differing(*(flow.tracer.top for flow in flows))
        if other is None:
            break
        leaves |= {other}
        found[other] = "its forward does other things in training than in evaluation"
    flow = flows[0]
    flow.tracer.untraced = found
    (answer,) = flow.output.args
    if not isinstance(answer, fx.Node) or not isinstance(flow.values[answer][0], Tensor):
        kind = type(flow.values[answer][0]).__name__ if isinstance(answer, fx.Node) else type(answer).__name__
        raise NeurofaError(
            f"got a {type(model).__name__} that returns a {kind}; expected one tensor; wrap it in a module whose"
            " forward returns the outputs alone"
        )
    return flow


def _differing(first: ModuleCall, second: ModuleCall) -> str | None:
    """Return the name of the innermost call that two traces made differently; None: they are the same."""
    if len(first.items) != len(second.items):
        return first.path or MODEL
    for ours, theirs in zip(first.items, second.items, strict=True):
        if isinstance(ours, ModuleCall) and isinstance(theirs, ModuleCall):
            inner = _differing(ours, theirs)
            if ours.path != theirs.path or inner is not None:
                return inner or first.path or MODEL
        elif isinstance(ours, ModuleCall) or isinstance(theirs, ModuleCall) or _text(ours) != _text(theirs):
            return first.path or MODEL
    return None


def _text(node: fx.Node) -> str:
    return node.format_node() or ""
