"""Pictures of experiments: accuracy against a swept quantity, a curve a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.charts.accuracy import logarithmic
from experiments.charts.figure import new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:cyan", "tab:pink")
LEVELS = ("0.45", "tab:brown", "0.7", "tab:olive", "black")


@dataclass(frozen=True)
class Mark:
    """A figure of somebody else, drawn as a diamond."""

    x: float
    y: float
    """Percent."""
    label: str
    """Equal labels share one line of the legend."""


def curves_chart(
    path: Path, lines: Sequence[Mapping[str, Any]], *, title: str, x_label: str, log: bool = False,
    marks: Sequence[Mark] = (), second: tuple[str, float] | None = None, y_label: str = "test accuracy (%)",
) -> None:  # fmt: skip
    """Test accuracy along a swept quantity: mean with a band of one standard deviation, and a dot a seed.

    Args:
        path: of the PNG.
        lines: one a method, with ``series``, ``x`` (None: a level, drawn dashed through the whole picture),
            ``test_accuracy``, ``test_accuracy_std`` and ``test_accuracies`` (shares).
        title: above the picture.
        x_label: of the swept quantity, with its unit.
        log: whether its axis is logarithmic.
        marks: figures of others.
        second: label of an axis above, and its value where the axis below has 1.
        y_label: of what stands in the place of test accuracy.
    """
    figure = new_figure(7.5, 4.4)
    axes = figure.subplots()
    if log:
        logarithmic(axes, [line["x"] for line in lines if line["x"] is not None])
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        curves.setdefault(line["series"], []).append(line)
    colours, greys = iter(COLOURS), iter(LEVELS)
    for series, points in curves.items():
        if points[0]["x"] is None:
            _level(axes, points[0], next(greys))
        else:
            _curve(axes, series, sorted(points, key=lambda point: point["x"]), next(colours))
    for label in dict.fromkeys(mark.label for mark in marks):
        places = [(mark.x, mark.y) for mark in marks if mark.label == label]
        axes.plot(*zip(*places, strict=True), "D", color="none", markeredgecolor="tab:red", markersize=7, label=label)
    if second is not None:
        label, factor = second

        def there(x: Any) -> Any:
            return x * factor

        def back(x: Any) -> Any:
            return x / factor

        above = axes.secondary_xaxis("top", functions=(there, back))
        above.set_xlabel(label)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines["right"].set_visible(False)
    axes.spines["top"].set_visible(second is not None)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save(figure, path)


def _curve(axes: Axes, series: str, points: Sequence[Mapping[str, Any]], colour: str) -> None:
    places = [point["x"] for point in points]
    centre = [100 * point["test_accuracy"] for point in points]
    spread = [100 * (point["test_accuracy_std"] or 0.0) for point in points]
    axes.plot(places, centre, "-o", color=colour, markersize=4, linewidth=1.5, label=series)
    below, above = ([c + side * s for c, s in zip(centre, spread, strict=True)] for side in (-1, 1))
    axes.fill_between(places, below, above, color=colour, alpha=0.15, linewidth=0)
    dots = [(point["x"], 100 * share) for point in points for share in point["test_accuracies"]]
    axes.plot(*zip(*dots, strict=True), ".", color=colour, markersize=3, alpha=0.6)


def _level(axes: Axes, point: Mapping[str, Any], colour: str) -> None:
    centre, spread = 100 * point["test_accuracy"], 100 * (point["test_accuracy_std"] or 0.0)
    axes.axhline(centre, color=colour, linestyle="--", linewidth=1.2, label=point["series"])
    axes.axhspan(centre - spread, centre + spread, color=colour, alpha=0.12, linewidth=0)
