"""Models of learning hardware: number formats, memory devices, projections, and the registry of all parts.

>>> from hwmodels.devices import Fixed
>>> Fixed(bits=4) == build("device", "fixed(bits=4)")
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hwmodels import devices, formats, profiles, projections
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Recipe, Registered, build, declare_kind, find, kinds, options, parts, recipe
from hwmodels.spec import Spec, parse

if TYPE_CHECKING:
    from hwmodels.device import Cells, Device
    from hwmodels.format import Format, straight_through

__all__ = [
    "Cells",
    "Device",
    "Format",
    "NeurofaError",
    "Recipe",
    "Registered",
    "Spec",
    "build",
    "declare_kind",
    "devices",
    "did_you_mean",
    "find",
    "formats",
    "kinds",
    "options",
    "parse",
    "parts",
    "profiles",
    "projections",
    "recipe",
    "straight_through",
]

_NEEDS_TORCH = {
    "Cells": "hwmodels.device",
    "Device": "hwmodels.device",
    "Format": "hwmodels.format",
    "straight_through": "hwmodels.format",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for, so that messages and specs do not wait for torch."""
    if name in _NEEDS_TORCH:
        return getattr(importlib.import_module(_NEEDS_TORCH[name]), name)
    raise AttributeError(f"module 'hwmodels' has no attribute '{name}'")
