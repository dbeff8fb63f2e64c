"""Registered classes and recipes, and the spec of a part that has been built."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from hwmodels.errors import NeurofaError
from hwmodels.registry.declared import alternatives, options, type_hints
from hwmodels.registry.shelves import register
from hwmodels.spec import Spec, parse

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Unwritable:
    """Placeholder in a spec for an option that no spec can hold, such as a torch module: its type, not the object."""

    type_name: str

    def __str__(self) -> str:
        return f"<{self.type_name}>"


class _Option(NamedTuple):
    default: object
    """As a spec holds it."""
    positional: bool
    names_part: bool
    """Whether text is the spec of a part."""


class Call(NamedTuple):
    """The call that built a part: its name and options, and what the class or recipe declares."""

    given: Spec
    declared: Mapping[str, _Option]
    """All options of the class or recipe."""

    @property
    def shortest(self) -> Spec:
        """The spec without options that equal their defaults; positional ones (sizes) are always written."""
        given = self.given.options
        kept = {
            key: given[key]
            for key, option in self.declared.items()
            if key in given and (option.positional or given[key] != option.default)
        }
        return Spec(self.given.name, kept)

    @property
    def full(self) -> Spec:
        """The spec with all options, defaults included."""
        defaults = {key: option.default for key, option in self.declared.items()}
        return Spec(self.given.name, {**defaults, **self.given.options})


class Registered:
    """Base of registered classes: ``class X(Base, name="x")`` adds X to the registry of Base's kind.

    The options that a part is constructed with are kept as literals and specs (never as tensors or modules), so that
    :attr:`spec` and ``repr`` can say how to build an equal part.
    """

    kind: ClassVar[str]
    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    """Where the part comes from: a paper with its equation, or the standard."""
    revision: ClassVar[int] = 1
    """Raised where a correction changes the numbers of runs: stored results of a lower one are not taken again."""
    _given: Mapping[str, object]
    """Options of the constructor call, by name."""
    _recipe: Call | None = None
    """The call of the recipe that built the part, where one did."""

    @classmethod
    def revision_of(cls, options: Mapping[str, object]) -> int:  # noqa: ARG003 (parts look at them)
        """Return the revision of a part with these options: :attr:`revision`, unless a correction touched only some.

        Args:
            options: those that its spec gives, by name.
        """
        return cls.revision

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
            object.__setattr__(part, "_given", _writable_options(cls, args, kwargs))
            return part

    @property
    def given(self) -> Spec:
        """The spec with exactly the options that the constructor or recipe was given, in that order.

        Raises:
            NeurofaError: an option that no spec can hold.
        """
        return self._checked(self.built_by.given)

    @property
    def spec(self) -> Spec:
        """The spec that builds an equal part; options that equal their defaults are left out.

        What a constructor takes by position (sizes) is always written. A part that a recipe built has the recipe's
        spec.

        Raises:
            NeurofaError: an option that no spec can hold.
        """
        return self._checked(self.built_by.shortest)

    @property
    def full_spec(self) -> Spec:
        """The spec with every option written out, defaults included.

        For a dataclass these are the present values of its fields, with the full specs of the parts among them.

        Raises:
            NeurofaError: an option that no spec can hold.
        """
        if not dataclasses.is_dataclass(self):
            return self._checked(self.built_by.full)
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        full = {k: v.full_spec if isinstance(v, Registered) else v for k, v in values.items()}
        return self._checked(Spec(self.name, {k: _writable(v, names_part=False) for k, v in full.items()}))

    def chosen(self) -> dict[str, Any]:
        """Return the values of the part's options by name, read from its attributes of the same names.

        An option that the part has under another name, or does not keep, is None.
        """
        return {key: getattr(self, key, None) for key in options(type(self))}

    @property
    def built_by(self) -> Call:
        """The call of the constructor or recipe that built the part."""
        if self._recipe is not None:
            return self._recipe
        constructor: Callable[..., Any] = type(self)
        return Call(Spec(self.name or constructor.__name__, self._given), _declared(constructor))

    def _checked(self, spec: Spec) -> Spec:
        if not self.name:
            raise NeurofaError(
                f"got a {type(self).__name__}, which has no name, for a spec; expected a registered class; give it one"
            )
        for held in _unwritable(spec.options.values()):
            raise NeurofaError(
                f"got {spec} with a {held.type_name} for a spec; expected numbers, words, lists and parts; keep the"
                " object itself"
            )
        return spec

    def __repr__(self) -> str:
        """Text of :attr:`spec`; options that no spec can hold stand as their type."""
        return str(self.built_by.shortest)


class Recipe(Registered):
    """A part that is described now and built when its caller knows the rest, such as the sizes of the data."""

    def build(self, *args: Any, **context: Any) -> Any:
        """Build what the recipe describes; a recipe takes the arguments of its kind."""
        raise NotImplementedError


def recipe(kind: str, name: str, source: str = "", **declared: object) -> Callable[[F], F]:
    """Register a function that builds a part; its keyword arguments are the options.

    Args:
        kind: kind of the part that is built.
        name: name of the part in specs.
        source: where the part comes from.
        declared: what else a class of this kind declares in its body, by name.
    """

    def add(function: F) -> F:
        @functools.wraps(function)
        def builder(*args: Any, **kwargs: Any) -> Any:
            part = function(*args, **kwargs)
            if isinstance(part, Registered) and part.kind == kind:
                call = Call(Spec(name, _writable_options(builder, args, kwargs)), _declared(builder))
                object.__setattr__(part, "_recipe", call)
            return part

        builder.name = name  # type: ignore[attr-defined]
        builder.source = source  # type: ignore[attr-defined]
        vars(builder).update(declared)
        register(kind, name, builder)
        return typing.cast(F, builder)

    return add


@functools.cache
def _declared(part: Callable[..., Any]) -> dict[str, _Option]:
    """Return what a class or recipe declares of its options."""
    hints, declared = type_hints(part), {}
    for key, p in options(part).items():
        names_part = any(isinstance(t, type) and issubclass(t, Spec | Registered) for t in alternatives(hints.get(key)))
        default = _writable(p.default, names_part=names_part)
        declared[key] = _Option(default, p.kind is p.POSITIONAL_OR_KEYWORD, names_part)
    return declared


def _writable_options(part: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, object]:
    """Return the options of a call as a spec holds them; unknown ones are left to the call to refuse."""
    if not args and not kwargs:
        return {}
    declared = _declared(part)
    values = {**dict(zip(declared, args, strict=False)), **kwargs}
    return {k: _writable(v, names_part=declared[k].names_part) for k, v in values.items() if k in declared}


def _writable(value: object, *, names_part: bool) -> object:
    """Return a value as a spec holds it: a literal, a list, a spec, or a stand-in for what no spec can hold.

    Args:
        value: of an option.
        names_part: whether text is the spec of a part.
    """
    if isinstance(value, Registered):
        return _inside(value.built_by.shortest) if value.name else Unwritable(type(value).__name__)
    if isinstance(value, Spec):
        return _inside(Spec(value.name, {k: _writable(v, names_part=True) for k, v in value.options.items()}))
    if isinstance(value, str) and names_part:
        try:
            return _inside(parse(value))
        except NeurofaError:
            return value  # the constructor refuses it
    if isinstance(value, list | tuple):
        return [_writable(v, names_part=names_part) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return Unwritable(type(value).__name__)


def _inside(spec: Spec) -> Spec | str:
    """Return a spec as the parser reads it inside another one: a name alone where there are no options."""
    return spec if spec.options else spec.name


def _unwritable(values: Iterable[object]) -> Iterator[Unwritable]:
    for value in values:
        if isinstance(value, Unwritable):
            yield value
        elif isinstance(value, Spec):
            yield from _unwritable(value.options.values())
        elif isinstance(value, list):
            yield from _unwritable(value)
