"""Models of learning hardware: number formats, memory devices, projections, and the registry that builds them.

This module imports no torch, so that messages and specs are available at once. Base classes are imported from their
modules, such as ``hwmodels.device``.
"""

from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Registered, build, declare_kind, find, kinds, options, parts, recipe
from hwmodels.spec import Spec, parse

__all__ = [
    "NeurofaError",
    "Registered",
    "Spec",
    "build",
    "declare_kind",
    "did_you_mean",
    "find",
    "kinds",
    "options",
    "parse",
    "parts",
    "recipe",
]
