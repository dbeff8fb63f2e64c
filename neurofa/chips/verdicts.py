"""Answers to one limit of a chip, shared by all judges."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from hwmodels.description import DeviceDescription
from hwmodels.profile import Profile
from neurofa.chips.requirements import Requirements

Verdict = Literal["holds", "broken", "not known", "not applicable", "not simulated"]


class Answer(NamedTuple):
    """Figure of a learner, its excess over a limit, and the verdict."""

    needed: str
    excess: str
    """Empty where the limit holds."""
    verdict: Verdict


Judge = Callable[[Profile, Requirements], Answer]
"""Called only where the profile knows the limit."""


def shown(value: Any) -> str:
    """Return a limit as text."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def holds(needed: str) -> Answer:
    """Return that the limit holds."""
    return Answer(needed, "", "holds")


def broken(needed: str, excess: str) -> Answer:
    """Return that the limit is exceeded, by ``excess``."""
    return Answer(needed, excess, "broken")


def other(needed: str, verdict: Verdict) -> Answer:
    """Return that the limit says nothing about the learner."""
    return Answer(needed, "", verdict)


def compare_counts(wanted: float, allowed: float) -> Answer:
    """Compare two numbers of things; the excess is a factor."""
    if wanted <= allowed:
        return holds(shown(wanted))
    return broken(shown(wanted), f"{wanted / allowed:.4g} times" if allowed else f"{wanted:g} more")


def compare_widths(wanted: float, allowed: float, name: str) -> Answer:
    """Compare two widths, bit; the excess is a difference.

    Args:
        wanted: width of what the learner has; infinite for floats without a limit.
        allowed: width that the chip has.
        name: of the number format or device that has the width.
    """
    needed = name if math.isinf(wanted) else f"{name}: {wanted:.4g}"
    return holds(needed) if wanted <= allowed else broken(needed, f"{wanted - allowed:.4g} bit")


def compare_choices(wanted: str, allowed: str, what: str) -> Answer:
    """Compare a choice with the chip's.

    Args:
        wanted: name of what the learner has.
        allowed: name of what the chip has.
        what: kind of the choice, for the message.
    """
    return holds(wanted) if wanted == allowed else broken(wanted, f"another {what}")


def count_limit(limit: str, number: Callable[[Requirements], float]) -> Judge:
    """Return the judge of a count that may not exceed the profile's."""
    return lambda profile, needs: compare_counts(number(needs), getattr(profile, limit))


def worst_answer(answers: list[Answer]) -> Answer:
    """Return, of all devices or layers of a network, the first answer that breaks the limit, else the last."""
    if not answers:
        return other("no affine weights", "not applicable")
    return next((answer for answer in answers if answer.verdict == "broken"), answers[-1])


def each_device(judge: Callable[[Profile, DeviceDescription], Answer]) -> Judge:
    """Return the judge that applies another one to every device of the network."""
    return lambda profile, needs: worst_answer([judge(profile, device) for device in needs.devices])
