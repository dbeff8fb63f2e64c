"""Answers to the question whether a learner fits one limit of a chip, and the comparisons that give them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from hwmodels.description import DeviceDescription
from hwmodels.profile import Profile
from neurofa.chips.requirements import Requirements

Verdict = Literal["holds", "broken", "not known", "not applicable", "not simulated"]


class Answer(NamedTuple):
    """Answer to the question whether a learner fits one limit of a chip."""

    needed: str
    """The learner's figure, as text."""
    excess: str
    """By how much the limit is exceeded; empty where it holds."""
    verdict: Verdict
    """Whether the limit holds, is broken, or cannot be compared."""


Judge = Callable[[Profile, Requirements], Answer]
"""Check of one limit: from a chip and a learner's requirements to the answer; the profile must state the limit."""


def shown(value: Any) -> str:
    """Return a limit or a figure as text; numbers have four significant digits."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def holds(needed: str) -> Answer:
    """Return the answer that the limit holds; ``needed`` is the learner's figure."""
    return Answer(needed, "", "holds")


def broken(needed: str, excess: str) -> Answer:
    """Return the answer that the learner's figure ``needed`` exceeds the limit, by ``excess``."""
    return Answer(needed, excess, "broken")


def other(needed: str, verdict: Verdict) -> Answer:
    """Return an answer that neither holds nor breaks the limit, with the learner's figure and the verdict."""
    return Answer(needed, "", verdict)


def compare_counts(wanted: float, allowed: float) -> Answer:
    """Return whether a count fits a limit; the excess is a factor.

    Args:
        wanted: count of the learner.
        allowed: largest count of the chip.
    """
    if wanted <= allowed:
        return holds(shown(wanted))
    return broken(shown(wanted), f"{wanted / allowed:.4g} times" if allowed else f"{wanted:g} more")


def compare_widths(wanted: float, allowed: float, name: str) -> Answer:
    """Return whether a number of bits fits a limit; the excess is a difference, bit.

    Args:
        wanted: width in the learner, bit; infinite for floats without a limit.
        allowed: largest width of the chip, bit.
        name: of the number format or device that has the width.
    """
    needed = name if math.isinf(wanted) else f"{name}: {wanted:.4g}"
    return holds(needed) if wanted <= allowed else broken(needed, f"{wanted - allowed:.4g} bit")


def compare_choices(wanted: str, allowed: str, what: str) -> Answer:
    """Return whether a named choice of the learner (a device, a rounding) is that of the chip.

    Args:
        wanted: name of what the learner has.
        allowed: name of what the chip has.
        what: kind of the choice, for the message.
    """
    return holds(wanted) if wanted == allowed else broken(wanted, f"another {what}")


def count_limit(limit: str, number: Callable[[Requirements], float]) -> Judge:
    """Return a check that a count of the learner does not exceed the chip's.

    Args:
        limit: name of the profile's field.
        number: function from the learner's requirements to the count.
    """
    return lambda profile, needs: compare_counts(number(needs), getattr(profile, limit))


def worst_answer(answers: list[Answer]) -> Answer:
    """Return the first of several answers (one per device or layer) that breaks the limit, else the last."""
    if not answers:
        return other("no affine weights", "not applicable")
    return next((answer for answer in answers if answer.verdict == "broken"), answers[-1])


def each_device(judge: Callable[[Profile, DeviceDescription], Answer]) -> Judge:
    """Return a check that applies another one to every memory device of the learner, and returns the worst answer.

    Args:
        judge: check of one device.
    """
    return lambda profile, needs: worst_answer([judge(profile, device) for device in needs.devices])
