"""The registry of parts: devices, formats, projections, rules, feedbacks, layers, networks, data sets, experiments.

A class registers itself by its header, ``class Fixed(Device, name="fixed")``, and a function that builds a part by the
decorator ``@recipe("rule", "sdfa")``. Every kind of part has a *shelf*, a module or a package with one file a part,
which is imported when somebody asks for the kind. Third parties register through the entry points ``neurofa.<kind>``.

A part is built from a spec, ``build("device", "fixed(bits=4)")``, or by its class, ``Fixed(bits=4)``; ``repr`` of the
part is its spec.

>>> from hwmodels.devices import Fixed
>>> Fixed(bits=4)
fixed(bits=4)
>>> build("device", "fixed(bits=4)") == Fixed(bits=4)
True
"""

from hwmodels.registry.building import build
from hwmodels.registry.declared import options
from hwmodels.registry.offering import shelf
from hwmodels.registry.registered import Call, Recipe, Registered, recipe
from hwmodels.registry.shelves import adapt_parts, declare_kind, find, import_modules, kinds, parts

__all__ = [
    "Call",
    "Recipe",
    "Registered",
    "adapt_parts",
    "build",
    "declare_kind",
    "find",
    "import_modules",
    "kinds",
    "options",
    "parts",
    "recipe",
    "shelf",
]
