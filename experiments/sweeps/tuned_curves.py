"""Curves over a swept quantity, each point of which is tuned and run as a method of one study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, StudyResult, run_study
from hwmodels.errors import NeurofaError


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One method: a point of a curve, or a level that does not depend on the swept quantity."""

    series: str
    """Name of the curve, or of the level."""
    x: float | None = None
    """The swept quantity; None for a level."""
    candidates: Sequence[Fields]
    """Settings from which validation data choose."""

    @property
    def method(self) -> str:
        """Name of the method: ``<series>`` of a level, else ``<series>, <x>``."""
        return self.series if self.x is None else f"{self.series}, {self.x:g}"


def run_curves(
    points: Sequence[CurvePoint], common: Fields, tuning_epochs: int, setup: Setup, *, name: str
) -> StudyResult:
    """Tune and run every point; each line of the result holds its ``series`` and ``x``.

    Points with equal settings share their runs. A method called ``readout_only`` is the control of the margins.

    Args:
        points: of all curves, with the levels.
        common: fields that all runs share.
        tuning_epochs: epochs of the runs that choose.
        setup: how the runs are done.
        name: of the part.

    Raises:
        NeurofaError: two points at the same place of a curve, or what
            :func:`~experiments.sweeps.study.run_study` raises.
    """
    methods = {point.method: point.candidates for point in points}
    if len(methods) < len(points):
        raise NeurofaError(f"got two points at one place in '{name}'; expected different values; leave out the second")
    study = Study(common=common, methods=methods, tuning_epochs=tuning_epochs)
    result = run_study(study, setup, name=name)
    places = {point.method: {"series": point.series, "x": point.x} for point in points}
    heads = [{"part": line["part"], "method": line["method"], **places[line["method"]]} for line in result.lines]
    lines = [{**head, **line} for head, line in zip(heads, result.lines, strict=True)]
    return StudyResult(lines, result.tuning, result.runs)


def percent_at(lines: Sequence[Mapping[str, Any]], series: str, x: float | None = None) -> float | None:
    """Return the mean test accuracy of one point, percent, rounded so that equal shares are equal.

    Args:
        lines: lines of a :class:`~experiments.sweeps.study.StudyResult`.
        series: name of the curve or of the level.
        x: place on the curve; None of a level.

    Returns:
        None where there is no such point, or no accuracy.
    """
    for line in lines:
        if line["series"] == series and line["x"] == x and line["test_accuracy"] is not None:
            return round(100 * float(line["test_accuracy"]), 6)
    return None


def accuracy_difference(a: float | None, b: float | None) -> float | None:
    """Return a - b in points, rounded as accuracies are; None where one is missing."""
    return None if a is None or b is None else round(a - b, 6)
