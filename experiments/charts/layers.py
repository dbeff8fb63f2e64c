"""Pictures of layers: values side by side, and courses over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.charts.figure import new_figure, quiet, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

Dots = Mapping[str, Mapping[str, Sequence[float]]]
"""Values by layer, by series."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """A value over training steps, of one or several seeds that looked at the same steps."""

    label: str
    steps: Sequence[int]
    values: Sequence[Sequence[float | None]]
    """One list a seed; None where nothing is defined."""
    at: float | None = None
    """Step to mark with a triangle."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes with courses."""

    title: str
    y_label: str
    courses: Sequence[Course]
    log: bool = False
    """Whether the values are on a logarithmic axis; those that are not positive are left out."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """Horizontal lines by label."""


def dots_chart(path: Path, panels: Mapping[str, Dots], *, title: str, y_label: str) -> None:
    """Values of layers side by side, a colour a series, a dot a value, a bar at the mean.

    Args:
        path: of the PNG.
        panels: by title.
        title: above the picture.
        y_label: of the values.
    """
    figure = new_figure(1.5 + 4.2 * len(panels), 3.8)
    names = list(dict.fromkeys(series for dots in panels.values() for series in dots))
    for axes, (name, dots) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        layers = list(dict.fromkeys(layer for found in dots.values() for layer in found))
        step = 0.7 / len(names)
        for series, found in dots.items():
            place = names.index(series)
            for layer, values in found.items():
                at = layers.index(layer) - 0.35 + step * (place + 0.5)
                axes.plot([at] * len(values), values, "o", color=f"C{place}", markersize=4, alpha=0.6)
                mean = sum(values) / len(values)
                axes.plot([at - 0.4 * step, at + 0.4 * step], [mean, mean], color=f"C{place}", linewidth=2.5)
        axes.set_xticks(range(len(layers)), layers)
        axes.set_title(name, loc="left", fontsize=9)
        axes.set_ylabel(y_label)
        quiet(axes)
    handles = [_key(f"C{place}", name) for place, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 4), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def courses_chart(path: Path, panels: Sequence[Panel], *, title: str, columns: int = 2) -> None:
    """Courses over training steps (logarithmic; the start stands left of the first step), bands from least to largest.

    Args:
        path: of the PNG.
        panels: some axes, in rows of ``columns``.
        title: above the picture.
        columns: panels in a row.
    """
    colours = _colours(list(dict.fromkeys(course.label for panel in panels for course in panel.courses)))
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(1.0 + 4.4 * columns, 0.6 + 2.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        for course in panel.courses:
            _course(axes, course, colours[course.label], log=panel.log)
        for label, level in panel.levels.items():
            axes.axhline(level, color="0.5", linestyle="--", linewidth=1, label=label)
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        if panel.log:
            axes.set_yscale("log")
        axes.set_xlim(left=0)
        axes.set_xlabel("training step")
        axes.set_ylabel(panel.y_label)
        axes.set_title(panel.title, loc="left", fontsize=9)
        quiet(axes)
        if panel.courses or panel.levels:
            axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def _colours(labels: Sequence[str]) -> dict[str, str]:
    """One colour for a label in all panels; many labels share a scale instead of repeating colours."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if len(labels) <= 10:
        return {label: f"C{place}" for place, label in enumerate(labels)}
    scale = colormaps["viridis"].resampled(len(labels))
    return {label: to_hex(scale(place)) for place, label in enumerate(labels)}


def _course(axes: Axes, course: Course, colour: str, *, log: bool) -> None:
    points = []
    for index, step in enumerate(course.steps):
        here = [seed[index] for seed in course.values]
        known = [v for v in here if v is not None and (v > 0 or not log)]
        if known:
            points.append((step, sum(known) / len(known), min(known), max(known)))
    if not points:
        return
    steps, middle, low, high = zip(*points, strict=True)
    axes.plot(steps, middle, "-", color=colour, linewidth=1.4, marker=".", markersize=3, label=course.label)
    if len(course.values) > 1:
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    if course.at is not None:
        foot = axes.get_xaxis_transform()
        axes.plot([course.at], [0], "^", color=colour, markersize=7, clip_on=False, transform=foot)


def _key(colour: str, label: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker="o", linewidth=2, markersize=4, label=label)
