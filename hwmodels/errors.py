"""The error class of the package, the form of its messages, and checks of the options of parts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple, Protocol


class NeurofaError(ValueError):
    """Root of every error that this package raises on purpose.

    Messages read *got X; expected Y; do Z*, on one line, so that a command can print them as they are.
    """


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name.

    Returns:
        ``"; did you mean 'dfa'?"``, or an empty string when no name is similar.
    """
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


class Condition(NamedTuple):
    """A condition on the value of an option."""

    holds: Callable[[Any], bool]
    """Returns whether a value is accepted."""
    expected: str
    """The accepted values, in words."""


POSITIVE = Condition(lambda v: 0 < v < math.inf, "a positive number")
POSITIVE_OR_NONE = Condition(lambda v: v is None or 0 < v < math.inf, "a positive number or None")
NOT_NEGATIVE = Condition(lambda v: 0 <= v < math.inf, "0 or more")
FINITE = Condition(math.isfinite, "a finite number")
PROBABILITY = Condition(lambda v: 0 <= v <= 1, "a probability, 0 to 1")


def minimum(least: int) -> Condition:
    """Return the condition of a number that is at least ``least``."""
    return Condition(lambda v: v >= least, f"at least {least}")


def one_of(*words: str) -> Condition:
    """Return the condition of an option that is one of several words."""
    return Condition(lambda v: v in words, f"{', '.join(words[:-1])} or {words[-1]}")


class Named(Protocol):
    """A part with the name that messages give it."""

    name: ClassVar[str]


def check_options(part: Named, condition: Condition, *keys: str, remedy: str = "change the value") -> None:
    """Refuse options of a part that break a condition.

    Args:
        part: the part, whose attributes ``keys`` are checked.
        condition: what each of them must fulfil.
        keys: names of options.
        remedy: what to do instead, the last part of the message.

    Raises:
        NeurofaError: an option breaks the condition; the message names the first one.
    """
    for key in keys:
        value = getattr(part, key)
        if not condition.holds(value):
            name = part.name or type(part).__name__
            raise NeurofaError(f"got {name}({key}={value}); expected {condition.expected}; {remedy}")
