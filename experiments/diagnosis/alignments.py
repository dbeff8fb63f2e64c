"""Alignment over training for all seeds of one method: phases of every seed, means, curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments.charts.marks import Mark, Pointer
from experiments.charts.seeds import mean_curve
from experiments.runs.measurements import Measurement, measurement_series, read_measurements
from experiments.sweeps.rows import SweepRow
from experiments.tables import Record, mean, standard_deviation
from hwmodels.errors import NeurofaError
from neurofa.diagnostics.phases import Phases, phases

GRADIENTS, WEIGHTS = "delta_cosine", "weight_alignment"
"""The two alignments of the source: of gradients (every layer below the readout), of weights (every layer but the
first)."""


def logged_measurements(runs: Iterable[SweepRow]) -> list[list[Measurement]]:
    """Return what each run of a sweep logged.

    Raises:
        NeurofaError: a run that has not finished.
    """
    seeds = []
    for run in runs:
        if not run.metrics:
            raise NeurofaError(f"got run {run.key[:8]} without metrics; expected a finished one; delete its row")
        seeds.append(read_measurements(run.metrics))
    return seeds


def layers_with(seeds: Sequence[Sequence[Measurement]], measure: str) -> list[str]:
    """Return the layers for which a measure is defined, from input to readout."""
    last = seeds[0][-1].alignment
    return [] if last is None else [name for name, row in last["layers"].items() if row.get(measure) is not None]


def phases_of(seeds: Sequence[Sequence[Measurement]], layer: str | None, measure: str) -> list[Phases | None]:
    """Return, for every seed, the phases in which the alignment of one layer rises and falls.

    Args:
        seeds: measurements of each seed, from :func:`logged_measurements`.
        layer: name of the layer; None: all hidden layers together.
        measure: such as ``delta_cosine``.
    """
    return [phases(*measurement_series(seed, layer, measure)) for seed in seeds]


def alignment_marks(
    seeds: Sequence[Sequence[Measurement]], layer: str | None, measure: str, label: str, *, pointer: bool = False
) -> list[Mark]:
    """Return the curve of one layer's alignment: the mean over seeds, with a band from the least to the largest value.

    Args:
        seeds: measurements of each seed, from :func:`logged_measurements`, all at the same steps.
        layer: name of the layer; None: all hidden layers together.
        measure: such as ``delta_cosine``.
        label: for the legend.
        pointer: whether a triangle points at the mean time of alignment.
    """
    courses = [measurement_series(seed, layer, measure) for seed in seeds]
    marks = mean_curve(label, courses[0][0], [values for _, values in courses])
    times = [p.align for p in phases_of(seeds, layer, measure) if p is not None and p.align is not None]
    centre = mean(times)
    if pointer and centre is not None:
        marks.append(Pointer(x=centre, label=label))
    return marks


def mean_std(name: str, values: Sequence[float | None]) -> Record:
    """Return the mean and the standard deviation of the seeds that have a value, as two columns."""
    known = [v for v in values if v is not None]
    return {name: mean(known), f"{name}_std": standard_deviation(known)}
