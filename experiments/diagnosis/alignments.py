"""Courses of alignment over the seeds of one method: phases of every seed, means and spreads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments.charts.layers import Course
from experiments.runs.measurements import Measurement, measurement_series, read_measurements
from experiments.sweeps.rows import SweepRow
from experiments.tables import Record, mean, spread
from hwmodels.errors import NeurofaError
from neurofa.diagnostics.phases import Phases, phases

GRADIENTS, WEIGHTS = "delta_cosine", "weight_alignment"
"""The two alignments of the source: of gradients (every layer below the readout), of weights (every layer but the
first)."""


def looked(runs: Iterable[SweepRow]) -> list[list[Measurement]]:
    """What each run of a sweep logged.

    Raises:
        NeurofaError: a run that has not finished.
    """
    found = []
    for run in runs:
        if not run.metrics:
            raise NeurofaError(f"got run {run.key[:8]} without metrics; expected a finished one; delete its row")
        found.append(read_measurements(run.metrics))
    return found


def layers_with(found: Sequence[Sequence[Measurement]], what: str) -> list[str]:
    """Layers for which a measure is defined, from input to readout."""
    last = found[0][-1].alignment
    return [] if last is None else [name for name, row in last["layers"].items() if row.get(what) is not None]


def phases_of(found: Sequence[Sequence[Measurement]], layer: str | None, what: str) -> list[Phases | None]:
    """The phases of one layer, one entry a seed."""
    return [phases(*measurement_series(seed, layer, what)) for seed in found]


def drawn(
    found: Sequence[Sequence[Measurement]], layer: str | None, what: str, label: str, *, mark: bool = False
) -> Course:
    """The course of one layer over all seeds, for :func:`~experiments.charts.layers.courses_chart`.

    Args:
        found: of :func:`looked`, all looked at the same steps.
        layer: its name; None: all hidden layers together.
        what: the measure.
        label: for the legend.
        mark: whether to mark the mean time of alignment.
    """
    both = [measurement_series(seed, layer, what) for seed in found]
    times = [p.align for p in phases_of(found, layer, what) if p is not None and p.align is not None]
    values = [values for _, values in both]
    return Course(label=label, steps=both[0][0], values=values, at=mean(times) if mark else None)


def centred(name: str, values: Sequence[float | None]) -> Record:
    """Mean and spread of the seeds that have a value, as two columns."""
    known = [v for v in values if v is not None]
    return {name: mean(known), f"{name}_std": spread(known)}
