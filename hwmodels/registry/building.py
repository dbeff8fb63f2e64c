"""Parts from specs, with a check of every option against the types that the constructor declares.

The checks are our own: an option may be a literal, a part, its spec or its bare name, for which a library such as
pydantic would need a validator for every kind of part, and its errors would have to be reworded.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry.declared import alternatives, options, type_hints
from hwmodels.registry.registered import Recipe, Registered
from hwmodels.registry.shelves import find, parts
from hwmodels.spec import Spec, parse, render

_WORDS = {int: "a whole number", float: "a number", str: "a name", bool: "True or False", type(None): "None"}


def build(kind: str, spec: object, **context: Any) -> Any:
    """Build a part from its spec.

    Args:
        kind: such as ``"device"``.
        spec: a spec string, a :class:`Spec`, or a part that is built already, which is returned unchanged; a typed
            recipe such as ``neurofa.networks.MLP`` is built with the context.
        context: arguments that the caller supplies and a spec may not (shapes, generators).

    Raises:
        NeurofaError: unknown name or option, or a value of the wrong type.

    >>> build("format", "ternary(threshold=0.2)")
    ternary(threshold=0.2)
    """
    if isinstance(spec, str):
        spec = parse(spec)
    if isinstance(spec, Registered) and spec.kind != kind:
        raise NeurofaError(f"got {spec.kind} {spec} for a {kind}; expected a {kind} or its spec; pass one")
    if isinstance(spec, Recipe):
        return _build_recipe(kind, spec, context)
    if not isinstance(spec, Spec):
        _refuse_foreign(kind, spec)
        return spec
    part = find(kind, spec.name)
    made = part if isinstance(part, type) else type_hints(part).get("return")  # a function may return a recipe
    described = isinstance(made, type) and issubclass(made, Recipe)
    known = {key: p for key, p in options(part).items() if described or key not in context}
    _check(kind, spec, known, type_hints(part))
    if described:
        return _build_recipe(kind, part(**spec.options), context)
    return part(**spec.options, **context)


def _refuse_foreign(kind: str, part: object) -> None:
    """Refuse an object that no part of this kind could be.

    Kinds whose parts are functions (such as nonlinearities) take any object.

    Raises:
        NeurofaError: naming both types.
    """
    known = [p for p in parts(kind).values() if isinstance(p, type) and issubclass(p, Registered)]
    base = next((c for p in known for c in p.__mro__ if "kind" in vars(c)), None)
    wanted: object = base
    if base is not None and issubclass(base, Recipe):
        wanted = type_hints(base.build).get("return")
    if isinstance(wanted, type) and not isinstance(part, Registered | wanted):
        raise NeurofaError(
            f"got a {type(part).__name__} for a {kind}; expected a {wanted.__name__} or its spec;"
            f" {_HINTS.get(kind, 'pass one')}"
        )


_HINTS = {"network": "turn torch modules into one with from_module(model, example_input)"}
"""What to do instead, by kind."""


def _build_recipe(kind: str, recipe: Recipe, context: Mapping[str, Any]) -> Any:
    wanted = inspect.signature(recipe.build).parameters
    for key, parameter in wanted.items():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty and key not in context:
            raise NeurofaError(f"got {kind} {recipe} without '{key}'; expected build(..., {key}=...); add it")
    return recipe.build(**context)


def _check(kind: str, spec: Spec, known: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]) -> None:
    """Refuse options that are unknown, of the wrong type, or missing.

    Args:
        kind: kind of the part.
        spec: what is asked for.
        known: the options that the spec may hold.
        hints: their types, as far as they are known.
    """
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


def _fits(value: object, hint: Any) -> bool:
    """Return whether an option that is annotated with ``hint`` may have this value (parts may be given as specs)."""
    return any(_fits_one(value, each) for each in alternatives(hint))


def _fits_one(value: object, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if _is_sequence(origin):
        inner = [a for a in typing.get_args(hint) if a is not Ellipsis]
        return isinstance(value, list | tuple) and (not inner or all(_fits(v, inner[0]) for v in value))
    if not isinstance(hint, type):
        return True  # a type that only a checker understands
    if issubclass(hint, Spec | Registered):
        return isinstance(value, Spec | str | hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is not int or not isinstance(value, bool))


def _is_sequence(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _words(hint: Any) -> str:
    return " or ".join(dict.fromkeys(_word(each) for each in alternatives(hint)))


def _word(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(str(a) for a in typing.get_args(hint))
    if _is_sequence(typing.get_origin(hint)):
        return "a list"
    if isinstance(hint, type) and issubclass(hint, Registered):
        return f"a {hint.kind}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))
