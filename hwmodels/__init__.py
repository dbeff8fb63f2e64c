"""Models of learning hardware: number formats, memory devices, and the registry that builds parts from specs."""

from hwmodels.device import Cells, Device
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.quantize import Format, straight_through
from hwmodels.registry import Registered, build, find, kind_of_parts, kinds, options, parts, recipe
from hwmodels.spec import Spec, parse

__all__ = [
    "Cells",
    "Device",
    "Format",
    "NeurofaError",
    "Registered",
    "Spec",
    "build",
    "did_you_mean",
    "find",
    "kind_of_parts",
    "kinds",
    "options",
    "parse",
    "parts",
    "recipe",
    "straight_through",
]
