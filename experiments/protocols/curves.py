"""Accuracy along a swept quantity: the curves of one part, tuned point by point, with their picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.charts.accuracies import accuracy_chart
from experiments.charts.figure import Axis
from experiments.charts.swept import Published, curves_chart
from experiments.protocols.tables import title_of
from experiments.sweeps.experiment import Checks, Findings, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import CONTROL, Fields
from experiments.sweeps.tuned_curves import CurvePoint, accuracy_difference, percent_at, run_curves
from experiments.tables import Record

Place = tuple[str, float | None]
"""A point of a curve: the series, and the value of the swept quantity (None: a level)."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The points of one part, and the axis along which they are drawn."""

    points: Sequence[CurvePoint]
    """Points of all curves, with the levels."""
    x: Axis | None = None
    """Axis of the swept quantity; None: all points are levels, drawn side by side."""
    published: Sequence[Published] = ()
    """Figures of others along the axis."""
    targets: Mapping[str, float] = field(default_factory=dict)
    """Figures of others by level, percent."""


def curve(series: str, places: Iterable[float], candidates: Callable[[float], Sequence[Fields]]) -> list[CurvePoint]:
    """Return the points of one curve.

    Args:
        series: name of the curve.
        places: values of the swept quantity.
        candidates: settings at one of these values, from which validation data chooses.
    """
    return [CurvePoint(series=series, x=x, candidates=candidates(x)) for x in places]


def swept_curves(curves: Curves, common: Fields, setup: Setup, part: str, tuning_epochs: int) -> Findings:
    """Tune and run every point; return their rows and a picture.

    Args:
        curves: what is run, and how it is drawn.
        common: fields of all runs.
        setup: folder, seeds and workers.
        part: name of the part and of the picture.
        tuning_epochs: epochs of the runs that choose.
    """
    outcome = run_curves(curves.points, common, tuning_epochs, setup, name=part)
    path, title = setup.folder / f"{part}.png", title_of(part, common, setup)
    if curves.x is None:
        accuracy_chart(path, outcome.lines, title=title, control=CONTROL, targets=curves.targets)
    else:
        title = f"{title}; bands: standard deviation"
        curves_chart(path, outcome.lines, title=title, x=curves.x, published=curves.published)
    return Findings(rows=outcome.lines, tuning=outcome.tuning, pictures=[path.name])


def gain(rows: Sequence[Record], ours: Place, theirs: Place) -> float | None:
    """Return how much higher the mean test accuracy of one point of a curve is than that of another, percentage points.

    Args:
        rows: rows from :func:`swept_curves`.
        ours: the point from whose accuracy the other is subtracted.
        theirs: the other point.

    Returns:
        The difference; None where a point is missing.
    """
    return accuracy_difference(percent_at(rows, *ours), percent_at(rows, *theirs))


def over_control(part: str, rows: Sequence[Record]) -> Checks:
    """Yield, for every point of the curves, the check that its mean test accuracy is above that of the control.

    Args:
        part: name of the part.
        rows: rows from :func:`swept_curves`.
    """
    for row in [row for row in rows if row["series"] != CONTROL]:
        gained = gain(rows, (row["series"], row["x"]), (CONTROL, None))
        yield above(f"{part}: {row['method']} over {CONTROL}, points", gained, 0)
