"""One registry for every kind of part: devices, formats, feedbacks, rules, networks, data, experiments.

A class registers itself by its header, ``class Fixed(Device, name="fixed")``; a recipe (a function that builds one) by
``@recipe("rule", "sdfa")``. The folder of a kind imports its own modules, so that one new file is all that a new part
needs; third parties register through the entry-point group ``neurofa.<kind>``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, ClassVar

from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.spec import Spec, parse, render

_SHELVES: dict[str, str] = {
    "activation": "neurofa.maps.activations",
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
    "loss": "neurofa.core.loss",
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
    "speed": "experiments.speed.suites",
    "surrogate": "neurofa.spiking.surrogate",
}
"""Every kind of part, and the shelf (a module, or a package whose modules) that defines the parts of that kind.

A table of names, imported when somebody asks for a kind: what is registered does not depend on earlier imports.
"""
_PARTS: dict[str, dict[str, Callable[..., Any]]] = {}
_LOADED: set[str] = set()


def declare_kind(kind: str, shelf: str) -> None:
    """Declare a further kind of part, and the module or package that defines its parts."""
    _SHELVES[kind] = shelf
    _LOADED.discard(kind)


def kinds() -> list[str]:
    """Return the names of all kinds, sorted."""
    return sorted({*_SHELVES, *_PARTS})


def _add(kind: str, name: str, part: Callable[..., Any]) -> None:
    known = _PARTS.setdefault(kind, {})
    other = known.get(name)
    if other is not None and (other.__module__, other.__qualname__) != (part.__module__, part.__qualname__):
        raise NeurofaError(f"got a second {kind} called '{name}'; expected unique names; rename one of them")
    known[name] = part


class Registered:
    """Base of registered classes: ``class X(Base, name="x")`` adds X to the registry of Base's kind."""

    kind: ClassVar[str]
    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    """Where the part comes from: a paper with its equation, or the standard."""

    def __init_subclass__(cls, *, name: str = "", kind: str = "", **more: Any) -> None:
        super().__init_subclass__(**more)
        if kind:
            cls.kind = kind
        if name:
            cls.name = name
            _add(cls.kind, name, cls)


def recipe(kind: str, name: str, source: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function that builds a part of that kind; its keyword arguments are the options."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        function.name = name  # type: ignore[attr-defined]
        function.source = source  # type: ignore[attr-defined]
        _add(kind, name, function)
        return function

    return add


def import_modules(package: str) -> None:
    """Import a package with every public module in it (or one module), so that what it defines is registered."""
    home = importlib.import_module(package)
    for module in pkgutil.iter_modules(getattr(home, "__path__", ())):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package}.{module.name}")


def parts(kind: str) -> dict[str, Callable[..., Any]]:
    """Every registered part of a kind, by name, sorted.

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
    return dict(sorted(_PARTS.get(kind, {}).items()))


def find(kind: str, name: str) -> Callable[..., Any]:
    """The registered part of that name.

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


def options(part: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword options of a registered class or recipe, in order."""
    return {
        key: parameter
        for key, parameter in inspect.signature(part).parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }


def build(kind: str, spec: object, **context: Any) -> Any:
    """Build a part from its spec.

    Args:
        kind: such as ``"device"``.
        spec: a spec string, a :class:`Spec`, or a part that is built already (returned as it is).
        context: arguments that the caller supplies and a spec may not (shapes, generators).

    Raises:
        NeurofaError: unknown name or option, or a value of the wrong type.
    """
    if isinstance(spec, str):
        spec = parse(spec)
    if not isinstance(spec, Spec):
        return spec
    part = find(kind, spec.name)
    known = {key: p for key, p in options(part).items() if key not in context}
    hints = _hints(part)
    for key, value in spec.options.items():
        if key not in known:
            expected = ", ".join(known) or "no options"
            raise NeurofaError(
                f"got option '{key}' for {kind} '{spec.name}'; expected {expected}{did_you_mean(key, known)}"
            )
        if key in hints and not _fits(value, hints[key]):
            wanted = _words(hints[key])
            raise NeurofaError(f"got {spec.name}({key}={render(value)}); expected {wanted}; change the value")
    missing = [k for k, p in known.items() if p.default is p.empty and k not in spec.options]
    if missing:
        raise NeurofaError(f"got {spec} without '{missing[0]}'; expected {spec.name}({missing[0]}=...); add it")
    return part(**spec.options, **context)


def _hints(part: Callable[..., Any]) -> dict[str, Any]:
    target = part.__init__ if isinstance(part, type) else part  # type: ignore[misc]
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError):  # a third party's annotation that only a type checker can resolve
        return {}


def _fits(value: object, hint: Any) -> bool:
    """Whether a parsed value may be given where ``hint`` is annotated (parts may be given as specs)."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin in (list, tuple):
        inner = [a for a in typing.get_args(hint) if a is not Ellipsis]
        return isinstance(value, list) and (not inner or all(_fits(v, inner[0]) for v in value))
    if hint is Spec:
        return isinstance(value, Spec | str)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is type(None):
        return value is None
    if isinstance(hint, type) and issubclass(hint, Registered):
        return isinstance(value, Spec | str)
    return not isinstance(hint, type) or isinstance(value, hint)


def _words(hint: Any) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(h) for h in typing.get_args(hint)))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(str(a) for a in typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Registered):
        return f"a {hint.kind}"
    return {int: "a whole number", float: "a number", str: "a name", bool: "True or False", type(None): "None"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )
