"""The source as data: modules, imports (lazy ones included), public classes, members that a base declares."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import experiments
import exports
import hwmodels
import neurofa

PACKAGES = (hwmodels, neurofa, exports, experiments)
ROOT = Path(next(iter(neurofa.__path__))).parent


class Import(NamedTuple):
    """One module of ours imports another."""

    importer: str
    imported: str
    lazy: bool
    """Whether the import stands inside a function."""


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Syntax trees of all modules, by dotted name."""
    trees = {}
    for package in PACKAGES:
        for path in sorted(Path(next(iter(package.__path__))).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


@functools.cache
def imports() -> list[Import]:
    """Every import between modules of ours, those inside functions and for type checkers included."""
    known = modules()
    return [
        Import(name, imported, lazy)
        for name, tree in known.items()
        for imported, lazy in _imports(tree, known, lazy=False)
        if imported in known and imported != name
    ]


def _imports(node: ast.AST, known: Mapping[str, object], *, lazy: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.ImportFrom) and child.module:
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                yield (whole if whole in known else child.module), lazy
        elif isinstance(child, ast.Import):
            yield from ((alias.name, lazy) for alias in child.names)
        yield from _imports(child, known, lazy=inside)


def room(module: str) -> str:
    """The room of a module: package and first part of its path."""
    return ".".join(module.split(".")[:2])


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = [stack.pop()]
            while component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def graph(*, rooms: bool) -> dict[str, set[str]]:
    """Who imports whom, by module or by room of the same package."""
    edges: dict[str, set[str]] = defaultdict(set)
    for importer, imported, _ in imports():
        pair = (room(importer), room(imported)) if rooms else (importer, imported)
        if pair[0] != pair[1] and pair[0].split(".")[0] == pair[1].split(".")[0] and "." in pair[0]:
            edges[pair[0]].add(pair[1])
    return edges


def public_classes() -> dict[str, list[str]]:
    """Modules that define a public class of one name, by that name."""
    homes: dict[str, list[str]] = defaultdict(list)
    for name, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name)
    return homes


def members(module: str, cls: str) -> list[str]:
    """Public methods and attributes that a class declares, in its body or by assignment to ``self``."""
    (node,) = (n for n in modules()[module].body if isinstance(n, ast.ClassDef) and n.name == cls)
    names: dict[str, None] = {}
    for child in node.body:
        if isinstance(child, ast.FunctionDef):
            names[child.name] = None
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            names[child.target.id] = None
        elif isinstance(child, ast.Assign):
            names |= {target.id: None for target in child.targets if isinstance(target, ast.Name)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            names |= {inner.attr: None} if isinstance(inner.value, ast.Name) and inner.value.id == "self" else {}
    return [name for name in names if not name.startswith("_")]


def functions() -> Iterator[tuple[str, str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Module, qualified name and definition of every function and method."""
    for module, tree in modules().items():
        yield from _functions(module, "", tree)


def _functions(
    module: str, prefix: str, node: ast.AST
) -> Iterator[tuple[str, str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield module, prefix + child.name, child
            yield from _functions(module, f"{prefix}{child.name}.", child)
        elif isinstance(child, ast.ClassDef):
            yield from _functions(module, f"{prefix}{child.name}.", child)
        else:
            yield from _functions(module, prefix, child)
