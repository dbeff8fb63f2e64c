"""What a registered class or recipe declares: the names, defaults and types of its options."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

_KINDS = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_UNIONS = (typing.Union, types.UnionType)


def options(part: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the options of a registered class or recipe, by name, in the order of its signature.

    >>> from hwmodels.formats import Ternary
    >>> list(options(Ternary))
    ['threshold', 'relative']
    """
    function = _constructor(part)
    if function is object.__init__:
        return {}
    parameters = inspect.signature(function).parameters
    return {key: p for key, p in parameters.items() if p.kind in _KINDS and key != "self"}


def type_hints(part: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the options of a class or recipe, by name."""
    try:
        return typing.get_type_hints(_constructor(part))
    except (NameError, TypeError):  # a third party's annotation that only a type checker can resolve
        return {}


def alternatives(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, or the type itself."""
    members = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else ()
    if not members:
        yield hint
    for member in members:
        yield from alternatives(member)


def _constructor(part: Callable[..., Any]) -> Callable[..., Any]:
    constructor: Callable[..., Any] = part.__init__ if isinstance(part, type) else part  # type: ignore[misc]
    return constructor
