"""Models of learning hardware: number formats, memory devices, projections, and the registry of all parts.

This module imports no torch, so that messages and specs are available at once. Base classes are imported from their
modules, such as ``hwmodels.device``.

>>> from hwmodels.devices import Fixed
>>> Fixed(bits=4) == build("device", "fixed(bits=4)")
True
"""

from hwmodels import devices, formats, profiles, projections
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Recipe, Registered, build, declare_kind, find, kinds, options, parts, recipe
from hwmodels.spec import Spec, parse

__all__ = [
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
]
