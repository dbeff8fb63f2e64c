"""Registered classes and recipes: their options, and the spec of a part that has been built."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from hwmodels.errors import NeurofaError
from hwmodels.registry.shelves import find, register
from hwmodels.spec import Spec, parse

F = TypeVar("F", bound=Callable[..., Any])
_UNIONS = (typing.Union, types.UnionType)


@dataclass(frozen=True)
class Unspoken:
    """Stands in ``repr`` for an option that no spec can hold, such as a torch module; the object itself is not kept."""

    type_name: str

    def __str__(self) -> str:
        return f"<{self.type_name}>"


class Registered:
    """Base of registered classes: ``class X(Base, name="x")`` adds X to the registry of Base's kind.

    The options that a part is constructed with are kept as literals and specs (never as tensors or modules), so that
    :attr:`spec` and ``repr`` can say how to build an equal part.
    """

    kind: ClassVar[str]
    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    """Where the part comes from: a paper with its equation, or the standard."""
    _given: Mapping[str, object]
    """Options of the constructor call, by name."""
    _recipe: Spec | None = None
    """Name and options of the recipe that built the part."""

    def __init_subclass__(cls, *, name: str = "", kind: str = "", **more: Any) -> None:
        super().__init_subclass__(**more)
        if kind:
            cls.kind = kind
        if name:
            cls.name = name
            register(cls.kind, name, cls)
        if "__repr__" not in vars(cls):
            # In the class itself: a dataclass would generate its own, and nn.Module comes first among the bases.
            bases = [base for base in cls.__mro__[1:] if issubclass(base, Registered) and "__repr__" in vars(base)]
            cls.__repr__ = bases[0].__repr__  # type: ignore[method-assign]

    if not TYPE_CHECKING:  # checkers shall see the constructor of the subclass alone

        def __new__(cls, *args: Any, **kwargs: Any) -> Registered:
            if cls.__init__ is object.__init__ and (args or kwargs):
                raise TypeError(f"{cls.__name__}() takes no arguments")
            part = super().__new__(cls)
            # Copies and unpickled parts are made without arguments; their state is filled in afterwards.
            object.__setattr__(part, "_given", _plain_options(cls, args, kwargs))
            return part

    @property
    def given(self) -> Spec:
        """The spec with exactly the options that the constructor or recipe was given, in that order.

        Raises:
            NeurofaError: an option that no spec can hold.
        """
        return self._checked(self._recipe or Spec(self.name, self._given))

    @property
    def spec(self) -> Spec:
        """The spec that builds an equal part; options that equal their defaults are left out.

        Sizes, which a constructor takes by position, are always written. A part that a recipe built has the recipe's
        spec.

        Raises:
            NeurofaError: an option that no spec can hold.
        """
        return self._checked(self._short_spec())

    @property
    def full_spec(self) -> Spec:
        """The spec with every option written out; of a dataclass the fields as they stand, with those of parts inside.

        Raises:
            NeurofaError: an option that no spec can hold.
        """
        if dataclasses.is_dataclass(self):
            values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
            full = {k: v.full_spec if isinstance(v, Registered) else v for k, v in values.items()}
            return self._checked(Spec(self.name, {k: _plain(v, names_part=False) for k, v in full.items()}))
        said, known = self._call()
        defaults = {key: option.default for key, option in known.items()}
        return self._checked(Spec(said.name, defaults | dict(said.options)))

    def _short_spec(self) -> Spec:
        """:attr:`spec`, with stand-ins for what no spec can hold."""
        said, known = self._call()
        kept = {
            key: said.options[key]
            for key, option in known.items()
            if key in said.options and (option.is_size or said.options[key] != option.default)
        }
        return Spec(said.name, kept)

    def _call(self) -> tuple[Spec, dict[str, _Option]]:
        """What built the part, with the options as given, and all options that it has."""
        builder: Callable[..., Any] = type(self) if self._recipe is None else find(self.kind, self._recipe.name)
        return self._recipe or Spec(self.name or type(self).__name__, self._given), _described(builder)

    def _checked(self, spec: Spec) -> Spec:
        if not self.name:
            raise NeurofaError(
                f"got a {type(self).__name__}, which has no name, for a spec; expected a registered class; give it one"
            )
        for silent in _unspoken(list(spec.options.values())):
            raise NeurofaError(
                f"got {spec} with a {silent.type_name} for a spec; expected numbers, words, lists and parts; keep the"
                " object itself"
            )
        return spec

    def __repr__(self) -> str:
        """Text of :attr:`spec`; options that no spec can hold stand as their type."""
        return str(self._short_spec())


class Recipe(Registered):
    """A part that is described now and built when its caller knows the rest, such as the sizes of the data."""

    def build(self, *args: Any, **context: Any) -> Any:
        """Build what the recipe describes; a recipe takes the arguments of its kind."""
        raise NotImplementedError


def recipe(kind: str, name: str, source: str = "") -> Callable[[F], F]:
    """Register a function that builds a part; its keyword arguments are the options.

    Args:
        kind: kind of the part that is built.
        name: by which specs name the part.
        source: where the part comes from.
    """

    def add(function: F) -> F:
        @functools.wraps(function)
        def built(*args: Any, **kwargs: Any) -> Any:
            part = function(*args, **kwargs)
            if isinstance(part, Registered) and part.kind == kind:
                object.__setattr__(part, "_recipe", Spec(name, _plain_options(built, args, kwargs)))
            return part

        built.name = name  # type: ignore[attr-defined]
        built.source = source  # type: ignore[attr-defined]
        register(kind, name, built)
        return typing.cast(F, built)

    return add


def options(part: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the options of a registered class or recipe, by name, in the order of its signature.

    >>> from hwmodels.formats import Ternary
    >>> list(options(Ternary))
    ['threshold', 'relative']
    """
    if not isinstance(part, type):
        return _named(inspect.signature(part))
    if part.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    return _named(inspect.signature(part.__init__))  # type: ignore[misc]


def type_hints(part: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the options of a class or recipe, by name."""
    try:
        return typing.get_type_hints(part.__init__ if isinstance(part, type) else part)  # type: ignore[misc]
    except (NameError, TypeError):  # a third party's annotation that only a type checker can resolve
        return {}


def alternatives(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, or the type itself."""
    members = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else ()
    if not members:
        yield hint
    for member in members:
        yield from alternatives(member)


def _named(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    kept = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {key: p for key, p in signature.parameters.items() if p.kind in kept and key != "self"}


class _Option(NamedTuple):
    default: object
    """As a spec holds it."""
    is_size: bool
    """Whether the option is taken by position."""
    names_part: bool
    """Whether text is the spec of a part."""


@functools.cache
def _described(part: Callable[..., Any]) -> dict[str, _Option]:
    """What a class or recipe declares of its options."""
    hints, described = type_hints(part), {}
    for key, p in options(part).items():
        names_part = any(isinstance(t, type) and issubclass(t, Spec | Registered) for t in alternatives(hints.get(key)))
        default = _plain(p.default, names_part=names_part)
        described[key] = _Option(default, p.kind is p.POSITIONAL_OR_KEYWORD, names_part)
    return described


def _plain_options(part: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, object]:
    """Options of a call as a spec holds them; unknown ones are left to the call to refuse."""
    if not args and not kwargs:
        return {}
    known = _described(part)
    values = {**dict(zip(known, args, strict=False)), **kwargs}
    return {key: _plain(value, names_part=known[key].names_part) for key, value in values.items() if key in known}


def _plain(value: object, *, names_part: bool) -> object:
    """A value as a spec holds it: a literal, a list, a :class:`Spec`, or a stand-in for what no spec can hold.

    Args:
        value: of an option.
        names_part: whether text is the spec of a part.
    """
    if isinstance(value, Registered):
        return _shortest(value._short_spec()) if value.name else Unspoken(type(value).__name__)
    if isinstance(value, Spec):
        return _shortest(Spec(value.name, {k: _plain(v, names_part=True) for k, v in value.options.items()}))
    if isinstance(value, str) and names_part:
        try:
            return _shortest(parse(value))
        except NeurofaError:
            return value  # the constructor refuses it
    if isinstance(value, list | tuple):
        return [_plain(v, names_part=names_part) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return Unspoken(type(value).__name__)


def _shortest(spec: Spec) -> Spec | str:
    """A name without options, as the parser reads it inside a spec."""
    return spec if spec.options else spec.name


def _unspoken(values: list[object]) -> Iterator[Unspoken]:
    for value in values:
        if isinstance(value, Unspoken):
            yield value
        elif isinstance(value, Spec):
            yield from _unspoken(list(value.options.values()))
        elif isinstance(value, list):
            yield from _unspoken(value)
