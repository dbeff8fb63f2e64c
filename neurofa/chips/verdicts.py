"""How a limit is judged: the shapes of an answer, shared by all judges."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from hwmodels.device import Device
from hwmodels.profile import Profile
from neurofa.chips.requirements import Footprint

Verdict = Literal["holds", "broken", "not known", "not applicable", "not simulated"]
Answer = tuple[str, str, Verdict]
"""What is asked for, by how much it is too much, and the verdict."""
Judge = Callable[[Profile, Footprint], Answer]
"""Asked only where the profile knows the limit."""


def text(value: Any) -> str:
    """A limit as it is shown."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def holds(asked: str) -> Answer:
    """The limit is kept."""
    return asked, "", "holds"


def broken(asked: str, excess: str) -> Answer:
    """The limit is exceeded, by ``excess``."""
    return asked, excess, "broken"


def count(wanted: float, allowed: float) -> Answer:
    """A number of things; the excess is a factor."""
    if wanted <= allowed:
        return holds(text(wanted))
    return broken(text(wanted), f"{wanted / allowed:.4g} times" if allowed else f"{wanted:g} more")


def width(wanted: float, allowed: float, name: str) -> Answer:
    """The width, bit, of what is called ``name``; the excess is a difference."""
    shown = name if math.isinf(wanted) else f"{name}: {wanted:.4g}"
    return holds(shown) if wanted <= allowed else broken(shown, f"{wanted - allowed:.4g} bit")


def same(wanted: str, allowed: str, what: str) -> Answer:
    """A choice that has to be the chip's."""
    return holds(wanted) if wanted == allowed else broken(wanted, f"another {what}")


def at_most(limit: str, number: Callable[[Footprint], float]) -> Judge:
    """A count that may not be exceeded."""
    return lambda profile, asked: count(number(asked), getattr(profile, limit))


def worst(answers: list[Answer]) -> Answer:
    """Of all devices of a network (or all layers) the first that breaks the limit, else the last."""
    if not answers:
        return "no affine weights", "", "not applicable"
    return next((answer for answer in answers if answer[2] == "broken"), answers[-1])


def each_device(judge: Callable[[Profile, tuple[Device, ...]], Answer]) -> Judge:
    """Judge every device of the network."""
    return lambda profile, asked: worst([judge(profile, chain) for chain in asked.devices])


def find(chain: tuple[Device, ...], key: str) -> Any:
    """The first value of that name on a device or inside it; None: nobody has one."""
    return next((getattr(device, key) for device in chain if getattr(device, key, None) is not None), None)
