"""NIR graphs of ours run tick by tick from the numbers in the file alone.

Ours, because neither nirtorch nor snnTorch runs leaky integrators or a loop from the file alone; where they can, tests
compare the spikes with theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import NeurofaError

_F = torch.nn.functional

NEURONS = ("LIF", "CubaLIF", "LI", "IF", "I")
"""Kinds of nodes with a membrane."""


def execution_order(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> tuple[list[str], set[str]]:
    """Sort the nodes of a NIR graph so that each one comes after all that feed it, loops of recurrence apart.

    Args:
        nodes: the nodes by name.
        edges: (source, target).

    Returns:
        Names in the order of execution; and the linear nodes of recurrent weights, which take the spikes of the tick
        before and are not in that order.

    Raises:
        NeurofaError: another loop.
    """
    delayed = {name for source, name in edges if (name, source) in edges and type(nodes[name]).__name__ == "Linear"}
    left, order = [name for name in nodes if name not in delayed], list[str]()
    while left:
        ready = [n for n in left if all(s in order or s in delayed for s, t in edges if t == n)]
        if not ready:
            raise NeurofaError(
                f"got a loop through '{left[0]}' in a NIR graph; expected loops of one linear node; export anew"
            )
        order += ready
        left = [name for name in left if name not in ready]
    return order, delayed


@torch.no_grad()
def run_nir(graph: Any, xs: Tensor) -> dict[str, Tensor]:
    """Run a NIR graph on sequences, from states of zero.

    Args:
        graph: a graph that NIR has read; every neuron resets in the tick in which it fires.
        xs: (T, B, *input_shape).

    Returns:
        ``output`` (T, B, o), and ``spikes.NODE`` (T, B, *out_shape) of every node that spikes.

    Raises:
        NeurofaError: a node that these graphs do not have.
    """
    edges = [(str(a), str(b)) for a, b in graph.edges]
    order, delayed = execution_order(graph.nodes, edges)
    sources = {name: [s for s, t in edges if t == name] for name in graph.nodes}
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    functions = {name: _node_function(name, node) for name, node in graph.nodes.items() if kinds[name] != "Input"}
    before, outputs = dict[str, Tensor](), dict[str, list[Tensor]]()
    for x in xs.unbind(0):
        now: dict[str, Tensor] = {}
        for name in order:  # all inputs of a node are there before it, but for loops
            if kinds[name] == "Input":
                now[name] = x
                continue
            inputs = [now[s] for s in sources[name] if s not in delayed]
            loops = [s for s in sources[name] if s in delayed and sources[s][0] in before]
            inputs += [functions[s](before[sources[s][0]]) for s in loops]
            now[name] = functions[name](sum(inputs[1:], inputs[0]))
            if kinds[name] in ("LIF", "CubaLIF", "IF"):
                outputs.setdefault(f"spikes.{name}", []).append(now[name])
            elif kinds[name] == "Output":
                outputs.setdefault("output", []).append(now[name])
        before = now
    return {name: torch.stack(values) for name, values in outputs.items()}


def _node_function(name: str, node: Any) -> Callable[[Tensor], Tensor]:
    """Return the function of one node from its input to its output in a tick; neurons keep their state in it."""
    kind = type(node).__name__
    match kind:
        case "Output":
            return lambda x: x
        case "Linear" | "Affine":
            weight, bias = _tensor(node.weight), _tensor(node.bias) if kind == "Affine" else None
            return lambda x: _F.linear(x, weight, bias)
        case "Conv2d":
            weight, bias = _tensor(node.weight), _tensor(node.bias)
            stride, padding = (_pair(value) for value in (node.stride, node.padding))
            return lambda x: _F.conv2d(x, weight, bias, stride, padding, 1, int(node.groups))
        case "AvgPool2d":
            size, stride = _pair(node.kernel_size), _pair(node.stride)
            return lambda x: _F.avg_pool2d(x, size, stride)
        case "Flatten":
            return lambda x: x.flatten(1)
        case _ if kind in NEURONS:
            return _neuron_function(kind, node)
    raise NeurofaError(f"got a {kind} at '{name}' in a NIR graph; expected a node that exports write; export anew")


def _neuron_function(kind: str, node: Any) -> Callable[[Tensor], Tensor]:
    """Return the Euler step of a membrane, and of a synaptic current alike.

    v <- v + dt / tau (v_leak - v + R I) = beta v + (1 - beta) v_leak + (dt R / tau) I; without a leak v <- v + dt R I.
    """
    dt = float(node.metadata["neurofa"]["dt"])
    if kind in ("IF", "I"):
        beta, gain, leak = _tensor(np.ones_like(node.r)), _tensor(dt * np.asarray(node.r)), _tensor(0.0)
    else:
        tau = node.tau_mem if kind == "CubaLIF" else node.tau
        beta, gain = _decay(dt, tau), _tensor(dt * np.asarray(node.r) / np.asarray(tau))
        leak = (1 - beta) * _tensor(node.v_leak)
    state: dict[str, Tensor | float] = {"v": 0.0, "i": 0.0}

    def tick(x: Tensor) -> Tensor:
        if kind == "CubaLIF":
            drive = _tensor(dt * np.asarray(node.w_in) / np.asarray(node.tau_syn)) * x
            state["i"] = x = _decay(dt, node.tau_syn) * state["i"] + drive
        v = beta * state["v"] + gain * x + leak
        if kind in ("LI", "I"):
            state["v"] = v
            return v
        z = (v > _tensor(node.v_threshold)).to(v.dtype)
        state["v"] = torch.where(z > 0, _tensor(node.v_reset), v)
        return z

    return tick


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _decay(dt: float, tau: Any) -> Tensor:
    """Return 1 - dt / tau of the Euler step, computed in double precision."""
    return _tensor(1 - dt / np.asarray(tau, dtype=np.float64))


def _pair(value: Any) -> tuple[int, int]:
    first, second = np.broadcast_to(np.asarray(value, dtype=np.int64), (2,)).tolist()
    return first, second
