"""Tables of tuned methods: a study of one part, its rows, and a picture of the test accuracies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from experiments.charts.accuracies import accuracy_chart, grid_chart
from experiments.sweeps.experiment import Findings
from experiments.sweeps.rows import SweepRow
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, run_study
from experiments.tables import Record, mean

Methods = Mapping[str, Sequence[Fields]]
"""Candidate settings by method."""
Measure = Callable[[Sequence[SweepRow]], Record]
"""Compute further columns of a method's row from its runs, one for each seed."""


def tuned_table(
    study: Study,
    setup: Setup,
    part: str,
    *,
    measure: Measure | None = None,
    targets: Mapping[str, float] | None = None,
    best_first: bool = False,
) -> Findings:
    """Tune and run the methods of a study; return their rows and, where data have labels, a picture of accuracies.

    Args:
        study: the methods that are compared.
        setup: folder, seeds and workers.
        part: name of the part and of the picture.
        measure: further columns of each row.
        targets: accuracies to draw beside ours, by method, percent.
        best_first: whether rows are sorted by test accuracy.
    """
    outcome = run_study(study, setup, name=part)
    rows = outcome.lines
    if measure is not None:
        rows = [row | measure(outcome.runs[row["method"]]) for row in rows]
    if best_first:
        rows = sorted(rows, key=lambda row: -row["test_accuracy"])
    found = Findings(rows=rows, tuning=outcome.tuning)
    if all(row["test_accuracy"] is not None for row in rows):
        found.pictures = [f"{part}.png"]
        title = title_of(part, study.common, setup)
        accuracy_chart(setup.folder / f"{part}.png", rows, title=title, control=study.control, targets=targets)
    return found


def grouped_table(
    groups: Mapping[str, Methods], common: Fields, setup: Setup, part: str, *, tuning_epochs: int
) -> Findings:
    """Run a study of the same methods in each group, such as a device; return all rows and one picture.

    Rows have the name of the group as ``group`` and that of the method as ``variant``; ``method`` joins both.

    Args:
        groups: candidate settings by group and method.
        common: fields of all runs.
        setup: folder, seeds and workers.
        part: name of the part and of the picture.
        tuning_epochs: epochs of the runs that choose.
    """
    found = Findings()
    for group, methods in groups.items():
        study = Study(common=common, methods=methods, tuning_epochs=tuning_epochs)
        outcome = run_study(study, setup, name=f"{part}: {group}")
        found.rows += [_in_group(line, part, group) for line in outcome.lines]
        found.tuning += [_in_group(line, part, group) for line in outcome.tuning]
    if found.rows:
        found.pictures = [f"{part}.png"]
        grid_chart(setup.folder / f"{part}.png", found.rows, title=title_of(part, common, setup))
    return found


def title_of(part: str, common: Fields, setup: Setup) -> str:
    """Return the title of a picture: part, data, epochs and seeds."""
    return f"{part}: {common['data']}, {common['epochs']} epochs, {setup.seeds} seeds"


def _in_group(line: Record, part: str, group: str) -> Record:
    method = line["method"]
    return {**line, "part": part, "group": group, "variant": method, "method": f"{group}: {method}"}


def mean_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are defined; None where none is."""
    return mean([value for value in values if value is not None])


def minus(a: float | None, b: float | None) -> float | None:
    """Return a - b; None where one is missing."""
    return None if a is None or b is None else a - b
