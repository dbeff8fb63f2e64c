"""Sweeps: every combination of some values of a run's fields, one row for each run."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.runs.folder import RunFolder
from experiments.runs.ingredients import run_ingredients, same_ingredients
from experiments.runs.run import train_run
from experiments.runs.spec import PARTS, RunSpec
from experiments.sweeps.rows import INGREDIENTS, SweepRow, compute_rows
from experiments.sweeps.setup import Setup
from experiments.tables import Record
from hwmodels.registry import build, find
from hwmodels.spec import parse


def spec_grid(axes: Mapping[str, Sequence[object]]) -> list[RunSpec]:
    """Return a run for every combination of the values of all axes.

    Args:
        axes: values by the name of a field of :class:`~experiments.runs.spec.RunSpec`; the last axis turns fastest.

    Raises:
        NeurofaError: a value that no run can have.
    """
    specs = [RunSpec.from_json(dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    for kind in PARTS:
        for text in dict.fromkeys(str(getattr(spec, kind)) for spec in specs):
            # data and networks take long to build: their options are checked by the runs
            if kind in ("data", "network"):
                find(kind, parse(text).name)
            else:
                build(kind, text)
    return specs


def run_sweep(specs: Sequence[RunSpec], setup: Setup, *, title: str = "sweep", keep: bool = False) -> list[SweepRow]:
    """Do every run once, in worker processes.

    Runs whose row is in the folder are not done again; failed ones are, and those whose data or whose parts by other
    people have changed. Several sweeps may share a folder.

    Args:
        specs: the runs; a spec that is given twice is done once.
        setup: folder, workers, threads and progress.
        title: name of this sweep for the progress.
        keep: leave each run's own folder, with its trained network, in ``runs/<key>``; a row without it is done again.

    Returns:
        The rows of these specs, in their order.

    Raises:
        NeurofaError: the folder cannot be written, a row in it cannot be read, or workers or threads are out of range.
    """
    train = functools.partial(_train, kept=setup.folder if keep else None)

    jobs = {spec.key: spec for spec in specs}

    def valid(row: SweepRow) -> bool:
        kept = not keep or run_folder(setup.folder, row.key).finished
        return kept and same_ingredients(row.ingredients, run_ingredients(jobs[row.key]))

    rows = compute_rows(jobs, train, RunSpec.to_json, setup, title=title, valid=valid)
    return list(rows.values())


def run_folder(folder: Path, key: str) -> RunFolder:
    """Return the folder of one run of a sweep that keeps them.

    Args:
        folder: where the sweep lies.
        key: the run's :attr:`RunSpec.key`.
    """
    return RunFolder(folder / "runs" / key)


def _train(spec: RunSpec, kept: Path | None) -> Record:
    """Do one run; called in a worker."""
    own = None if kept is None else run_folder(kept, spec.key).path
    result = train_run(spec, own, resume=own is not None, renew=True)
    return {**result.to_dict(), "metrics": list(result.rows), INGREDIENTS: run_ingredients(spec)}
