"""Every kind of part that a run is built from, declared by importing the modules that declare them."""

from __future__ import annotations

from hwmodels.registry import import_modules


def load_kinds() -> None:
    """Declare the kinds that a training run needs."""
    import experiments.data
    import experiments.optimizers
    import experiments.schedules
    import neurofa.learner
    import neurofa.recipes  # noqa: F401


def load_all_kinds() -> None:
    """Declare every kind of the package, those of experiments and benchmarks included."""
    load_kinds()
    import_modules("neurofa")
    import_modules("experiments")
