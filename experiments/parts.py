"""Every kind of part that a run is built from, declared by importing the modules that declare them."""

from __future__ import annotations

import importlib

from hwmodels.registry import import_modules

_DECLARING = (
    "experiments.data", "experiments.optimizers", "experiments.schedules", "neurofa.learner", "neurofa.recipes",
)  # fmt: skip
"""Modules that declare the kinds of part which a run names."""


def load_kinds() -> None:
    """Declare the kinds that a training run needs."""
    for module in _DECLARING:
        importlib.import_module(module)


def load_all_kinds() -> None:
    """Declare every kind of the package, those of experiments and benchmarks included."""
    load_kinds()
    import_modules("hwmodels")
    import_modules("neurofa")
    import_modules("experiments")
