"""Experiments: a question, the runs that answer it, and the checks that decide what the answer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import ClassVar

from experiments.files import make_folder, write_json
from experiments.sweeps.setup import Setup
from experiments.tables import Record, percent
from hwmodels.errors import NeurofaError, did_you_mean
from hwmodels.registry import Registered


@dataclass(frozen=True)
class ExperimentCheck:
    """A bound on a figure, and whether it holds."""

    name: str
    """What is measured, with its unit."""
    value: float | None
    """None where there is nothing to measure."""
    target: str
    """Such as ``>= 98.3``."""
    holds: bool


Checks = Iterable[ExperimentCheck]


def at_least(name: str, value: float | None, bound: float) -> ExperimentCheck:
    """Return the check value >= bound; a missing value does not hold.

    Args:
        name: what is measured, with its unit.
        value: the figure; None where there is none.
        bound: in the same unit.
    """
    return ExperimentCheck(name, value, f">= {bound:g}", value is not None and value >= bound)


def at_most(name: str, value: float | None, bound: float) -> ExperimentCheck:
    """Return the check value <= bound; arguments as of :func:`at_least`."""
    return ExperimentCheck(name, value, f"<= {bound:g}", value is not None and value <= bound)


def above(name: str, value: float | None, bound: float) -> ExperimentCheck:
    """Return the check value > bound; arguments as of :func:`at_least`."""
    return ExperimentCheck(name, value, f"> {bound:g}", value is not None and value > bound)


def margin_checks(part: str, lines: Sequence[Record], control: str) -> list[ExperimentCheck]:
    """Return a check for every method: that its accuracy is above the control's.

    Args:
        part: of the experiment.
        lines: one for each method, with its ``margin`` over the control as a share; None, as for the control, is left
            out.
        control: name of the control.
    """
    return [
        above(f"{part}: margin of {line['method']} over {control}, points", percent(line["margin"]), 0)
        for line in lines
        if line["margin"] is not None
    ]


@dataclass(frozen=True)
class Reference:
    """A figure published by others, to compare with the results of an experiment."""

    name: str
    """What was measured, of what, with its unit."""
    value: float
    source: str
    """Who published it, and where."""
    certainty: str
    """How sure the figure is: measured by whom, read where, or remembered."""


def cited(
    figures: Mapping[str, float], source: str, certainty: str, *, quantity: str = "test accuracy, %"
) -> list[Reference]:
    """Return one reference for each figure of a source.

    Args:
        figures: values by what they belong to, such as a method.
        source: who published them, and where.
        certainty: how sure they are.
        quantity: what is measured, with its unit.
    """
    return [Reference(f"{name}: {quantity}", value, source, certainty) for name, value in figures.items()]


@dataclass
class Findings:
    """The results of one part of an experiment."""

    rows: list[Record] = field(default_factory=list)
    """Its table."""
    tuning: list[Record] = field(default_factory=list)
    """Settings that were compared on validation data."""
    reference: list[Reference] = field(default_factory=list)
    """Figures of others, to compare with."""
    checks: list[ExperimentCheck] = field(default_factory=list)
    """Statements that need more than the rows; the others are those of :meth:`Experiment.checks`."""
    pictures: list[str] = field(default_factory=list)
    """Names of PNG files in the folder."""
    columns: list[str] = field(default_factory=list)
    """Keys of the rows that the printed table shows, in order; none: accuracies and settings of training runs."""


class Experiment(Registered, ABC, kind="experiment"):
    """A question with a source, answered part by part."""

    question: ClassVar[str]
    """One sentence."""
    differs: ClassVar[str] = ""
    """How the size ``full`` differs from the protocol of ``source``."""
    parts: ClassVar[tuple[str, ...]] = ("all",)
    """Names of the parts, in order."""

    @abstractmethod
    def run(self, part: str, setup: Setup) -> Findings:
        """Carry out one part of the experiment, and return its results.

        Args:
            part: one of ``parts``.
            setup: folder, seeds, workers and size of the runs.

        Raises:
            NeurofaError: a run failed; data are missing.
        """

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        """Yield the statements of one part about its table, each with whether it holds.

        Args:
            part: one of ``parts``.
            rows: the table, as :meth:`run` returned it.
        """
        return ()


def conduct(experiment: Experiment, setup: Setup, *, parts: Sequence[str] = ()) -> Record:
    """Carry out an experiment and write its results to ``result.json`` in its folder.

    Args:
        experiment: what is carried out.
        setup: folder, seeds, workers and sizes; runs that the folder already holds are not done again.
        parts: names of parts of the experiment; none: all.

    Returns:
        The content of ``result.json``: ``experiment`` (its name), ``question``, ``source``, ``parts``, ``full`` and
        ``seeds``; ``rows``, ``reference``, ``checks``, ``tuning`` and ``pictures`` of all parts, and ``columns`` by
        part, as in :class:`Findings`.

    Raises:
        NeurofaError: an unknown part, a failed run, missing data, or a folder that cannot be written.
    """
    for part in parts:
        if part not in experiment.parts:
            known = f"{', '.join(experiment.parts)}{did_you_mean(part, experiment.parts)}"
            raise NeurofaError(f"got part '{part}'; expected one of {known}")
    chosen = [part for part in experiment.parts if not parts or part in parts]
    make_folder(setup.folder)
    found = [experiment.run(part, setup) for part in chosen]
    checked = [[*experiment.checks(part, f.rows), *f.checks] for part, f in zip(chosen, found, strict=True)]
    result: Record = {
        "experiment": experiment.name,
        "question": experiment.question,
        "source": experiment.source,
        "differs": experiment.differs,
        "parts": chosen,
        "full": setup.full,
        "seeds": list(range(setup.seeds)),
        "rows": list(chain.from_iterable(findings.rows for findings in found)),
        "reference": [asdict(figure) for findings in found for figure in findings.reference],
        "checks": [asdict(check) for checks in checked for check in checks],
        "tuning": list(chain.from_iterable(findings.tuning for findings in found)),
        "pictures": list(chain.from_iterable(findings.pictures for findings in found)),
        "columns": {part: findings.columns for part, findings in zip(chosen, found, strict=True) if findings.columns},
    }
    write_json(setup.folder / "result.json", result)
    return result
