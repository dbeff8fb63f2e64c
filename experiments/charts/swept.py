"""Accuracy along a swept quantity, a curve a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve, Level, Mark, Span
from experiments.charts.seeds import band_around

LEVEL_COLOURS = ("0.45", "tab:brown", "0.7", "tab:olive", "black")


@dataclass(frozen=True)
class Published:
    """A figure published by others, drawn as a diamond at (x, y)."""

    x: float
    y: float
    """Percent."""
    label: str


def curves_chart(
    path: Path,
    lines: Sequence[Mapping[str, Any]],
    *,
    title: str,
    x: Axis,
    published: Sequence[Published] = (),
    y_label: str = "test accuracy (%)",
) -> None:
    """Draw mean accuracies with bands of one standard deviation, and a dot a seed.

    Args:
        path: of the PNG.
        lines: one a point, with ``series``, ``x`` (None: a level, drawn dashed through the whole picture),
            ``test_accuracy``, ``test_accuracy_std`` and ``test_accuracies`` (shares).
        title: above the picture.
        x: axis of the swept quantity.
        published: figures of others.
        y_label: the quantity that stands in the place of test accuracy.
    """
    series: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        series.setdefault(line["series"], []).append(line)
    marks: list[Mark] = []
    greys = iter(LEVEL_COLOURS)
    for name, points in series.items():
        if points[0]["x"] is None:
            marks += _level(name, points[0], next(greys))
        else:
            marks += _curve(name, sorted(points, key=lambda point: point["x"]))
    style: dict[str, Any] = {"style": "D", "size": 7, "colour": "tab:red", "hollow": True}
    for label in dict.fromkeys(each.label for each in published):
        own = [each for each in published if each.label == label]
        marks.append(Curve(label=label, x=[each.x for each in own], y=[each.y for each in own], **style))
    draw_figure(path, [Panel(x=x, y=Axis(y_label), marks=marks)], title=title, size=(6.7, 3.6))


def _curve(name: str, points: Sequence[Mapping[str, Any]]) -> list[Mark]:
    x = [point["x"] for point in points]
    centre = [100 * point["test_accuracy"] for point in points]
    half = [100 * (point["test_accuracy_std"] or 0.0) for point in points]
    dots = [(point["x"], 100 * share) for point in points for share in point["test_accuracies"]]
    seeds_x, seeds_y = zip(*dots, strict=True)
    return [
        Curve(label=name, x=x, y=centre, style="-o", band=band_around(centre, half)),
        Curve(label=name, x=seeds_x, y=seeds_y, style=".", size=3, opacity=0.6),
    ]


def _level(name: str, point: Mapping[str, Any], colour: str) -> list[Mark]:
    centre, half = 100 * point["test_accuracy"], 100 * (point["test_accuracy_std"] or 0.0)
    span = Span(low=centre - half, high=centre + half, colour=colour)
    return [Level(label=name, value=centre, colour=colour), span]
