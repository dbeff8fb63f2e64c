"""Kinds of parts, the shelf of each kind, and the registered parts by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from hwmodels.errors import NeurofaError, did_you_mean

_SHELVES: dict[str, str] = {
    "activation": "neurofa.maps.activations",
    "speed": "experiments.speed.suites",
    "camera": "hwmodels.optics.camera",
    "conductance": "hwmodels.arrays.conductance",
    "data": "experiments.data",
    "detection": "hwmodels.optics.detection",
    "device": "hwmodels.devices",
    "encoder": "experiments.data.encoders",
    "experiment": "experiments.papers",
    "feedback": "neurofa.feedbacks",
    "format": "hwmodels.formats",
    "layer": "neurofa.layers",
    "loss": "neurofa.losses",
    "network": "neurofa.networks",
    "neuron": "neurofa.neurons",
    "nonlinearity": "neurofa.maps.activations",
    "norm": "neurofa.maps.norms",
    "optimizer": "experiments.runs.optimizers",
    "periphery": "hwmodels.arrays.periphery",
    "profile": "hwmodels.profiles",
    "projection": "hwmodels.projections",
    "rule": "neurofa.rules",
    "schedule": "experiments.runs.schedules",
    "surrogate": "neurofa.spiking.surrogate",
}
"""The module or package that defines the parts of each kind.

These are names, imported when a kind is asked for: what is registered does not depend on earlier imports.
"""
_PARTS: dict[str, dict[str, Callable[..., Any]]] = {}
_LOADED: set[str] = set()
_ADAPTERS: dict[str, list[tuple[str, Callable[[str, Callable[..., Any]], None]]]] = {}
"""By kind: another kind whose parts serve as parts of this one, and what registers one of them."""


def declare_kind(kind: str, shelf: str) -> None:
    """Declare a further kind of part, and the module or package that defines its parts."""
    _SHELVES[kind] = shelf
    _LOADED.discard(kind)


def adapt_parts(kind: str, of: str, adapt: Callable[[str, Callable[..., Any]], None]) -> None:
    """Register every part of one kind as a part of another kind too, parts that are registered later included.

    Every projection, for example, can so be named where a feedback is expected.

    Args:
        kind: kind under which the parts are registered as well.
        of: kind of the parts.
        adapt: called with name and part of each of them; registers it under ``kind``.
    """
    _ADAPTERS.setdefault(kind, []).append((of, adapt))


def kinds() -> list[str]:
    """Return the names of all kinds, sorted."""
    return sorted({*_SHELVES, *_PARTS})


def register(kind: str, name: str, part: Callable[..., Any]) -> None:
    """Enter a class or function into the registry.

    Args:
        kind: kind of the part.
        name: name of the part in specs.
        part: the class, or a function that builds the part.

    Raises:
        NeurofaError: another part of this kind has the name.
    """
    known = _PARTS.setdefault(kind, {})
    other = known.get(name)
    if other is not None and (other.__module__, other.__qualname__) != (part.__module__, part.__qualname__):
        raise NeurofaError(f"got a second {kind} called '{name}'; expected unique names; rename one of them")
    known[name] = part


def import_modules(package: str) -> None:
    """Import a module, or a package with every public module in it, so that the parts defined there are registered."""
    home = importlib.import_module(package)
    for module in pkgutil.iter_modules(getattr(home, "__path__", ())):
        if not module.name.startswith("_"):
            imported = importlib.import_module(f"{package}.{module.name}")
            part = vars(imported).get(module.name)
            if part is not None and any(part in known.values() for known in _PARTS.values()):
                # The import has bound the module to the name under which the shelf offers the module's part.
                setattr(home, module.name, part)


def parts(kind: str) -> dict[str, Callable[..., Any]]:
    """Return every registered part of a kind, by name, sorted.

    Raises:
        NeurofaError: no such kind.
    """
    if kind not in kinds():
        raise NeurofaError(f"got kind '{kind}'; expected one of {', '.join(kinds())}{did_you_mean(kind, kinds())}")
    if kind not in _LOADED:
        _LOADED.add(kind)  # first, because a part's module may ask for the parts of its own kind
        try:
            if kind in _SHELVES:
                import_modules(_SHELVES[kind])
            for point in entry_points(group=f"neurofa.{kind}"):
                point.load()
        except BaseException:
            _LOADED.discard(kind)
            raise
    for of, adapt in _ADAPTERS.get(kind, ()):
        for name, part in parts(of).items():
            if name not in _PARTS.get(kind, {}):
                adapt(name, part)
    return dict(sorted(_PARTS.get(kind, {}).items()))


def kinds_of(package: str) -> list[str]:
    """Return the kinds whose shelf is this package."""
    return [kind for kind, home in _SHELVES.items() if home == package]


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the registered part of that name.

    Raises:
        NeurofaError: unknown name, with the nearest known one.
    """
    known = parts(kind)
    if name not in known:
        raise NeurofaError(
            f"got {kind} '{name}'; expected one of {', '.join(known)}{did_you_mean(name, known)}"
            f" (see: neurofa list {kind})"
        )
    return known[name]
