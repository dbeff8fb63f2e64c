"""One line of a cost table: a count of this network, or a count times a published figure."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.figures import Figure


@dataclass(frozen=True)
class Cost:
    """One quantity of one update."""

    part: str
    """``forward``, ``feedback``, ``update`` or ``life``."""
    what: str
    low: float | None
    high: float | None
    """Equal to ``low`` where it is one number; a bound that is not known is None."""
    unit: str
    """Empty for a count."""
    formula: str
    source: str
    sure: str
    """``counted`` or ``measured`` here; ``read``, ``second-hand`` or ``remembered`` figures; ``given`` by an option."""


def count(part: str, what: str, number: float, formula: str, sure: str = "counted") -> Cost:
    """A number without a unit that this network gives by itself."""
    return Cost(part, what, number, number, "", formula, "this network", sure)


def times(part: str, what: str, number: float, figure: Figure, formula: str, unit: str = "") -> Cost:
    """A number times a figure, bound by bound.

    Args:
        part: of the update.
        what: in words.
        number: factor.
        figure: its source and its mark are those of the result.
        formula: in words.
        unit: of the result; empty: that of the figure.
    """
    low, high = (None if bound is None else number * bound for bound in (figure.low, figure.high))
    return Cost(part, what, low, high, unit or figure.unit, formula, figure.source, figure.verified)


def over(part: str, what: str, figure: Figure, number: float, unit: str, formula: str) -> Cost:
    """A figure over a number, bound by bound."""
    low, high = (None if bound is None else bound / number for bound in (figure.low, figure.high))
    return Cost(part, what, low, high, unit, formula, figure.source, figure.verified)
