"""The one error root of the package, and the form of its messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeurofaError(ValueError):
    """Root of every error that this package raises on purpose.

    Messages read *got X; expected Y; do Z*, on one line, so that a command can print them as they are.
    """


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name.

    Returns:
        ``"; did you mean 'dfa'?"`` or an empty string when nothing is near.
    """
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""
