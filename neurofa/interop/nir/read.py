"""NIR files and graphs as plain nodes and edges: whole files, known nodes, finite numbers; graphs in graphs opened."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hwmodels.errors import NeurofaError, did_you_mean

LARGEST = 1000
"""Numbers of a dataset, per byte of its file, beyond which it is damaged: no compression packs real weights so."""
PLACES = ("Input", "Output")
"""Types of the nodes that only mark where a signal enters and leaves."""

Edge = tuple[str, str]


@dataclass(frozen=True)
class FlatGraph:
    """Nodes by name, of one level: the nodes of a graph in a graph have its name before theirs (``block/lif``)."""

    nodes: Mapping[str, Any]
    """NIR nodes; the places where inner graphs begin and end are left out."""
    edges: tuple[Edge, ...]
    input: str
    output: str
    dt: float | None
    """Length of a tick that the file states, s; None: it states none."""

    def before(self, name: str) -> list[str]:
        """Return the nodes whose outputs a node receives."""
        return [a for a, b in self.edges if b == name]

    def behind(self, name: str) -> list[str]:
        """Return the nodes that receive a node's output."""
        return [b for a, b in self.edges if a == name]


def kind_of(node: Any) -> str:
    """Return the type of a node, as NIR calls it."""
    return type(node).__name__


def library(name: str = "nir") -> ModuleType:
    """Return the package ``nir``, or the one that reads its files.

    Raises:
        NeurofaError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise NeurofaError(
            f'got no package {name}; expected it for graphs of NIR; do: pip install "neurofa[exports]"'
        ) from None


def read_graph(source: Path | str | Any) -> FlatGraph:
    """Return a NIR graph of one level, with one input and one output to which every node is connected.

    Args:
        source: path of a file, or a graph of the library ``nir``.

    Raises:
        NeurofaError: no such file, a damaged one or one of a later version; an unknown node, numbers that are not
            finite, edges of unknown nodes, nodes without connection, several inputs or outputs.
    """
    library()
    if isinstance(source, Path | str):
        root, what = _file_content(Path(source)), f"'{source}'"
    elif hasattr(source, "to_dict") and hasattr(source, "nodes"):
        root, what = source.to_dict(), "the graph"
    else:
        raise NeurofaError(
            f"got a {type(source).__name__}; expected a graph of NIR, or the path of a file; pass nir.NIRGraph"
        )
    flat = _Flat(what)
    outer = flat.add(root, "")
    return flat.graph(outer)


def _file_content(path: Path) -> dict[str, Any]:
    """Return the content of a file as nested dicts of arrays."""
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected a NIR file; check the path")
    h5py, nir = library("h5py"), library()
    try:
        with h5py.File(path, "r") as file:
            _require_plausible(h5py, file)
            version = file["version"][()] if "version" in file else None
            content: dict[str, Any] = importlib.import_module("nir.serialization").hdf2dict(file["node"])
    except Exception as error:  # h5py raises many classes for a damaged file
        raise NeurofaError(
            f"got '{path}', which cannot be read ({_first_line(error)}); expected a whole NIR file; write it again"
        ) from None
    _check_version(path, version, str(nir.version))
    return content


def _require_plausible(h5py: ModuleType, file: Any) -> None:
    """Refuse a file that claims more numbers than it can hold, whose reading would take all memory."""
    most = max(file.id.get_filesize(), 2**10) * LARGEST

    def check(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.nbytes > most:
            raise OSError(f"dataset '{name}' claims {item.nbytes:.3g} bytes")

    file.visititems(check)


def _check_version(path: Path, version: Any, installed: str) -> None:
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    major = text.partition(".")[0]
    if version is None or not major.isdigit():
        raise NeurofaError(
            f"got '{path}' without a version of NIR ({text:.20}); expected a whole NIR file; write it again"
        )
    if int(major) > int(installed.partition(".")[0]):
        raise NeurofaError(
            f"got '{path}' of NIR {text:.20}; expected at most that of the library, {installed}; do: pip install -U nir"
        )


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__


@dataclass
class _Flat:
    """A graph under construction."""

    what: str
    """The file, for messages."""
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    ticks: set[float] = field(default_factory=set)

    def add(self, content: Any, place: str) -> Edge:
        """Add the nodes and edges of a graph, and of those inside it; return where it begins and ends."""
        inside = f" of '{place[:-1]}'" if place else ""
        if not isinstance(content, Mapping) or not isinstance(content.get("nodes"), Mapping):
            raise NeurofaError(f"got {self.what} without nodes{inside}; expected a graph of NIR; write it again")
        ends: dict[str, Edge] = {}
        for name, about in content["nodes"].items():
            kind = about.get("type") if isinstance(about, Mapping) else None
            if kind == "NIRGraph":
                ends[name] = self.add(about, f"{place}{name}/")
            else:
                self.nodes[place + name] = self._node(place + name, kind, about)
                ends[name] = (place + name, place + name)
        self._note_tick(content.get("metadata"))
        for a, b in self._edges_of(content.get("edges"), inside):
            for end in (a, b):
                if end not in ends:
                    raise NeurofaError(
                        f"got an edge from '{a}' to '{b}' in {self.what}, which has no node '{end}'{inside}; expected"
                        f" one of {', '.join(sorted(ends))}; write it again"
                    )
            self.edges.append((ends[a][1], ends[b][0]))
        return self._end(content, place, "Input"), self._end(content, place, "Output")

    def _node(self, name: str, kind: Any, about: Any) -> Any:
        ir = importlib.import_module("nir.ir")
        known = [k for k in ir.__all__ if k not in ("NIRNode", "dict2NIRNode", "str2NIRNode")]
        if kind not in known:
            raise NeurofaError(
                f"got a node '{name}' of type {kind!r:.40} in {self.what}; expected {', '.join(sorted(known))}"
                f"{did_you_mean(str(kind), known)}; use one of them"
            )
        own = {key: value for key, value in about.items() if key != "metadata"}
        for key, value in own.items():
            floats = isinstance(value, np.ndarray | np.floating) and np.asarray(value).dtype.kind == "f"
            if floats and not np.isfinite(value).all():
                raise NeurofaError(
                    f"got NaN or infinity in {key} of '{name}' in {self.what}; expected finite numbers; write the file"
                    " again from a network that has some"
                )
        self._note_tick(about.get("metadata"))
        try:
            return ir.dict2NIRNode(dict(own))
        except Exception as error:  # NIR asserts, and reads missing keys
            missing = f"no {error}" if isinstance(error, KeyError) else _first_line(error)
            raise NeurofaError(
                f"got a {kind} '{name}' in {self.what} that NIR refuses ({missing}); expected all of its values, in"
                " shapes that fit; write it again"
            ) from None

    def _note_tick(self, metadata: Any) -> None:
        own = metadata.get("neurofa") if isinstance(metadata, Mapping) else None
        if isinstance(own, Mapping) and "dt" in own:
            self.ticks.add(float(own["dt"]))

    def _edges_of(self, edges: Any, inside: str) -> Iterator[Edge]:
        seen = set[Edge]()
        for pair in [] if edges is None else list(edges):
            ends = tuple(e.decode(errors="replace") if isinstance(e, bytes) else str(e) for e in np.asarray(pair).flat)
            if len(ends) != 2 or ends in seen:
                fault = f"{'two edges' if len(ends) == 2 else 'an edge'} {' to '.join(ends)!r:.80}{inside}"
                raise NeurofaError(f"got {fault} in {self.what}; expected pairs of nodes, each once; write it again")
            seen.add((ends[0], ends[1]))
            yield ends[0], ends[1]

    def _end(self, content: Mapping[str, Any], place: str, kind: str) -> str:
        found = [name for name, about in content["nodes"].items() if about.get("type") == kind]
        if len(found) != 1:
            which = f"nodes of type {kind} ({', '.join(found) or 'none'})"
            where = f" in graph '{place[:-1]}'" if place else ""
            raise NeurofaError(
                f"got {len(found)} {which}{where} in {self.what}; expected one; a network here has one input and one"
                " output: concatenate them in one node, or import each part by itself"
            )
        return f"{place}{found[0]}"

    def graph(self, outer: Edge) -> FlatGraph:
        """Return the finished graph; places inside it are bridged."""
        for name in [n for n, node in self.nodes.items() if kind_of(node) in PLACES and n not in outer]:
            sources = [a for a, b in self.edges if b == name]
            targets = [b for a, b in self.edges if a == name]
            self.edges = [edge for edge in self.edges if name not in edge]
            self.edges += [(a, b) for a in sources for b in targets if (a, b) not in self.edges]
            del self.nodes[name]
        dt = self.ticks.pop() if len(self.ticks) == 1 else None
        graph = FlatGraph(self.nodes, tuple(self.edges), *outer, dt)
        onwards, backwards = _reached(graph.behind, graph.input), _reached(graph.before, graph.output)
        for name in graph.nodes:
            if name not in onwards or name not in backwards:
                end = "input" if name not in onwards else "output"
                raise NeurofaError(
                    f"got '{name}' in {self.what} without a way {'from' if end == 'input' else 'to'} the {end};"
                    " expected every node between both; add the missing edge, or leave the node out"
                )
        return graph


def _reached(neighbours: Any, start: str) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        for name in neighbours(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found
