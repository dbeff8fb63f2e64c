"""What a shelf package offers to ``import``: its parts by their Python names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hwmodels.errors import did_you_mean
from hwmodels.registry.registered import Registered
from hwmodels.registry.shelves import kinds_of, parts


def shelf(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a shelf package.

    ``__getattr__, __dir__ = shelf(__name__)`` in the package makes ``from neurofa.rules import DFA`` work, for parts in
    new files too. The modules are imported at the first look-up of a name, not with the package.
    """

    def get(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        known = _offered(package)
        loaded = vars(sys.modules[package])  # a module of the shelf stands here since it was imported
        if name not in known and name not in loaded:
            raise AttributeError(f"module '{package}' has no attribute '{name}'{did_you_mean(name, known)}")
        return known.get(name, loaded.get(name))

    def names() -> list[str]:
        return sorted({*_offered(package), *vars(sys.modules[package])})

    return get, names


def _offered(package: str) -> dict[str, Any]:
    """Registered classes and recipes, and the other classes of the shelf's kind, by their Python names."""
    offered: dict[str, Any] = {}
    for kind in kinds_of(package):
        own = [part for part in parts(kind).values() if part.__module__.startswith(f"{package}.")]
        for module in {part.__module__ for part in own}:
            own += [part for part in vars(sys.modules[module]).values() if _is_of(part, kind, module)]
        offered |= {part.__name__: part for part in own}
    return offered


def _is_of(value: object, kind: str, module: str) -> bool:
    """Return whether a value is a class of parts of this kind that is defined in this module."""
    return (
        isinstance(value, type) and issubclass(value, Registered) and value.kind == kind and value.__module__ == module
    )
