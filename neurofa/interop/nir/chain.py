"""The order of a NIR graph: a chain of nodes, loops of recurrent weights, and branches without neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwmodels.errors import NeurofaError
from neurofa.interop.nir.read import FlatGraph, kind_of
from neurofa.interop.nir.shapes import Shape, shape_behind

NEURONS = ("LIF", "CubaLIF", "IF", "LI", "CubaLI", "I", "Threshold")
"""Types of nodes that become neurons."""
REMEMBERING = tuple(kind for kind in NEURONS if kind != "Threshold")
LOOPS = ("Linear", "Affine", "Scale")
"""Types of nodes through which a neuron may receive its own outputs."""


@dataclass(frozen=True)
class Loop:
    """Recurrent weights of a layer of neurons, from their outputs of the tick before."""

    weight: np.ndarray[Any, Any]
    """(n, n)."""
    bias: np.ndarray[Any, Any] | None


@dataclass(frozen=True)
class Link:
    """One node of a chain."""

    name: str
    node: Any
    in_shape: Shape
    out_shape: Shape
    loop: Loop | None = None


@dataclass(frozen=True)
class Branches:
    """Several ways between two nodes of a chain, whose ends are summed."""

    name: str
    links: tuple[Link, ...]
    """Nodes on the ways, each behind all that feed it."""
    sources: tuple[tuple[str, ...], ...]
    """By link: names of the links that feed it; an empty name stands for the input of the branches."""
    ends: tuple[str, ...]
    """Names of the links that are summed."""
    in_shape: Shape
    out_shape: Shape


def chain_of(graph: FlatGraph) -> list[Link | Branches]:
    """Return the nodes between input and output in the order of execution.

    Args:
        graph: of one level.

    Raises:
        NeurofaError: shapes that do not match, loops of other nodes than recurrent weights, branches with neurons.
    """
    loops = _loops(graph)
    inner = {name for names in loops.values() for name in names}
    edges = [(a, b) for a, b in graph.edges if a != b and a not in inner and b not in inner]
    order = _order([name for name in graph.nodes if name not in inner], edges)
    links, shapes = dict[str, Link](), dict[str, Shape]()
    before = {name: [a for a, b in edges if b == name] for name in order}
    for name in order:
        shapes[name], links[name] = _linked(graph, name, [(s, shapes[s]) for s in before[name]], loops.get(name))
    chain: list[Link | Branches] = []
    here = graph.input
    while here != graph.output:
        behind = [b for a, b in edges if a == here]
        join = behind[0] if len(behind) == 1 else _join(here, graph.output, order, edges)
        if len(behind) > 1 or len(before[join]) > 1:
            chain.append(_branches(here, join, order, links, before))
        if join != graph.output:
            chain.append(links[join])
        here = join
    return chain


def _loops(graph: FlatGraph) -> dict[str, list[str]]:
    """Return the nodes of the recurrent weights of every neuron that has some; an edge to itself counts as one."""
    loops: dict[str, list[str]] = {}
    for name, node in graph.nodes.items():
        inside = [n for n in graph.before(name) if graph.before(n) == [name] and graph.behind(n) == [name]]
        own = [n for n in inside if n != name]
        if own or name in graph.behind(name):
            kinds = {kind_of(graph.nodes[n]) for n in own}
            if kind_of(node) not in REMEMBERING or not kinds <= set(LOOPS):
                raise _bad_loop([name, *own])
            loops[name] = own
    return loops


def _bad_loop(names: list[str]) -> NeurofaError:
    return NeurofaError(
        f"got a loop through {', '.join(map(repr, names))}; expected neurons that receive their own outputs through"
        f" Linear, Affine or Scale nodes of their own alone; merge the loop into one such node"
    )


def _order(names: list[str], edges: list[tuple[str, str]]) -> list[str]:
    left, order = list(names), list[str]()
    while left:
        ready = [n for n in left if not any(b == n and a in left for a, b in edges)]
        if not ready:
            # nodes behind a loop are no part of it
            while trailing := [n for n in left if not any(a == n and b in left for a, b in edges)]:
                left = [n for n in left if n not in trailing]
            raise _bad_loop(left)
        order += ready
        left = [n for n in left if n not in ready]
    return order


def _linked(
    graph: FlatGraph, name: str, sources: list[tuple[str, Shape]], loop: list[str] | None
) -> tuple[Shape, Link]:
    """Return the shape behind a node, and the node with its recurrent weights."""
    node = graph.nodes[name]
    shapes = {shape for _, shape in sources}
    if len(shapes) > 1:
        which = ", ".join(f"{shape} of '{source}'" for source, shape in sources)
        raise NeurofaError(
            f"got inputs of different shapes at '{name}' ({which}); expected one shape; correct the file"
        )
    in_shape = shapes.pop() if shapes else ()
    source = f" behind '{sources[0][0]}'" if sources else ""
    out_shape = shape_behind(name, node, in_shape, source)
    weights = None if loop is None else _loop_weights(name, [(n, graph.nodes[n]) for n in loop], graph, out_shape)
    return out_shape, Link(name, node, in_shape, out_shape, weights)


def _loop_weights(name: str, nodes: list[tuple[str, Any]], graph: FlatGraph, shape: Shape) -> Loop:
    if len(shape) != 1:
        raise NeurofaError(
            f"got recurrent weights at '{name}' of shape {shape}; expected a vector of neurons; flatten before it"
        )
    n = shape[0]
    weight, bias = np.zeros((n, n)), None
    if (name, name) in graph.edges:
        weight = weight + np.eye(n)
    for where, node in nodes:
        if kind_of(node) == "Scale":
            own = np.diag(np.broadcast_to(np.asarray(node.scale, dtype=np.float64).reshape(-1), (n,)))
        else:
            own = np.asarray(node.weight, dtype=np.float64)
        if own.shape != (n, n):
            raise NeurofaError(
                f"got recurrent weights of shape {own.shape} at '{where}'; expected {(n, n)} for the {n} neurons of"
                f" '{name}'; correct the file"
            )
        weight = weight + own
        if kind_of(node) == "Affine":
            bias = np.asarray(node.bias, dtype=np.float64) + (0 if bias is None else bias)
    return Loop(weight, bias)


def _join(start: str, end: str, order: list[str], edges: list[tuple[str, str]]) -> str:
    """Return the first node that lies on every way from one node to another."""
    for candidate in order[order.index(start) + 1 :]:
        reached, waiting = {start}, [start]
        while waiting:
            here = waiting.pop()
            for a, b in edges:
                if a == here and b not in reached and b != candidate:
                    reached.add(b)
                    waiting.append(b)
        if candidate == end or end not in reached:
            return candidate
    return end


def _branches(here: str, join: str, order: list[str], links: dict[str, Link], before: dict[str, list[str]]) -> Branches:
    """Return what lies between two nodes, without neurons."""
    between = order[order.index(here) + 1 : order.index(join)]
    region = list[str]()
    for name in between:
        if any(source == here or source in region for source in before[name]):
            region.append(name)
    for name in region:
        if kind_of(links[name].node) in NEURONS or links[name].loop is not None:
            raise NeurofaError(
                f"got {kind_of(links[name].node)} '{name}' on one of several ways from '{here}' to '{join}'; expected"
                " neurons in a chain, and branches without neurons alone; put the populations side by side into one"
                " node, or train it in the simulator that wrote it"
            )
    names = {here: ""} | {name: name for name in region}
    sources = tuple(tuple(names[s] for s in before[name]) for name in region)
    ends = tuple(names[s] for s in before[join])
    shape = links[join].in_shape
    return Branches(f"{here} to {join}", tuple(links[n] for n in region), sources, ends, links[here].out_shape, shape)
