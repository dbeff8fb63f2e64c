"""NIR graphs of ours run tick by tick, from what stands in the file alone: what a reader of them should find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwmodels.errors import NeurofaError

_F = torch.nn.functional


def tensor(values: Any) -> Tensor:
    """Numbers of a node in single precision."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def decay(node: Any, tau: Any) -> Tensor:
    """1 - dt / tau of the Euler step, found in double precision; dt stands in the node's metadata."""
    return tensor(1 - float(node.metadata["neurofa"]["dt"]) / np.asarray(tau, dtype=np.float64))


def order(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> tuple[list[str], set[str]]:
    """Nodes so that inputs come first, and those through which neurons drive each other, one tick late.

    Raises:
        NeurofaError: another loop.
    """
    late = {name for source, name in edges if (name, source) in edges and type(nodes[name]).__name__ == "Linear"}
    left, found = [name for name in nodes if name not in late], list[str]()
    while left:
        ready = [n for n in left if all(s in found or s in late for s, t in edges if t == n)]
        if not ready:
            raise NeurofaError(
                f"got a loop through '{left[0]}' in a NIR graph; expected loops of one linear node; export anew"
            )
        found += ready
        left = [name for name in left if name not in ready]
    return found, late


@torch.no_grad()
def run(graph: Any, xs: Tensor) -> dict[str, Tensor]:
    """All ticks.

    Args:
        graph: as read; every neuron resets at the tick in which it fires.
        xs: (T, B, *input_shape).

    Returns:
        ``output`` (T, B, o), and ``spikes.NODE`` (T, B, *out_shape) of every node that spikes.

    Raises:
        NeurofaError: a node that these graphs do not have.
    """
    edges = [(str(a), str(b)) for a, b in graph.edges]
    names, late = order(graph.nodes, edges)
    sources = {name: [s for s, t in edges if t == name] for name in graph.nodes}
    cells = {name: _cell(name, node) for name, node in graph.nodes.items() if type(node).__name__ != "Input"}
    before, found = dict[str, Tensor](), dict[str, list[Tensor]]()
    for x in xs.unbind(0):
        now: dict[str, Tensor] = {}
        for name in names:
            if name not in cells:
                now[name] = x
                continue
            parts = [now[s] for s in sources[name] if s not in late]
            rings = [s for s in sources[name] if s in late]
            parts += [cells[s](before[sources[s][0]]) for s in rings if sources[s][0] in before]
            now[name] = cells[name](sum(parts[1:], parts[0]))
            kind = type(graph.nodes[name]).__name__
            if kind in ("LIF", "CubaLIF"):
                found.setdefault(f"spikes.{name}", []).append(now[name])
            elif kind == "Output":
                found.setdefault("output", []).append(now[name])
        before = now
    return {name: torch.stack(values) for name, values in found.items()}


def _cell(name: str, node: Any) -> Callable[[Tensor], Tensor]:
    """What one node makes of its input in a tick; neurons remember."""
    kind = type(node).__name__
    if kind == "Output":
        return lambda x: x
    if kind in ("Linear", "Affine"):
        weight, bias = tensor(node.weight), tensor(node.bias) if kind == "Affine" else None
        return lambda x: _F.linear(x, weight, bias)
    if kind == "Conv2d":
        weight, bias = tensor(node.weight), tensor(node.bias)
        stride, padding = (_pair(value) for value in (node.stride, node.padding))
        return lambda x: _F.conv2d(x, weight, bias, stride, padding, 1, int(node.groups))
    if kind == "AvgPool2d":
        size, stride = _pair(node.kernel_size), _pair(node.stride)
        return lambda x: _F.avg_pool2d(x, size, stride)
    if kind == "Flatten":
        return lambda x: x.flatten(1)
    if kind in ("LIF", "CubaLIF", "LI"):
        return _neuron(kind, node)
    raise NeurofaError(f"got a {kind} at '{name}' in a NIR graph; expected a node that exports write; export anew")


def _pair(value: Any) -> tuple[int, int]:
    first, second = np.broadcast_to(np.asarray(value, dtype=np.int64), (2,)).tolist()
    return first, second


def _neuron(kind: str, node: Any) -> Callable[[Tensor], Tensor]:
    """Of the membrane: v <- v + dt / tau (v_leak - v + R I) = beta v + (1 - beta) v_leak + (dt R / tau) I; i alike."""
    dt = float(node.metadata["neurofa"]["dt"])
    tau = node.tau_mem if kind == "CubaLIF" else node.tau
    beta, gain = decay(node, tau), tensor(dt * np.asarray(node.r) / np.asarray(tau))
    leak = (1 - beta) * tensor(node.v_leak)
    state: dict[str, Tensor | float] = {"v": 0.0, "i": 0.0}

    def tick(x: Tensor) -> Tensor:
        if kind == "CubaLIF":
            into = tensor(dt * np.asarray(node.w_in) / np.asarray(node.tau_syn))
            state["i"] = x = decay(node, node.tau_syn) * state["i"] + into * x
        v = beta * state["v"] + gain * x + leak
        if kind == "LI":
            state["v"] = v
            return v
        z = (v > tensor(node.v_threshold)).to(v.dtype)
        state["v"] = torch.where(z > 0, tensor(node.v_reset), v)
        return z

    return tick
