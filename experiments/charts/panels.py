"""Pictures of experiments: curves over time, panels side by side with one legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.charts.figure import new_figure, quiet, save
from experiments.tables import mean, spread

if TYPE_CHECKING:
    from matplotlib.artist import Artist


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line, or one row of dots."""

    x: Sequence[float]
    y: Sequence[float]
    label: str | None = None
    """Equal labels share one entry of the legend; none: not in it."""
    colour: str = "tab:blue"
    style: Literal["line", "dashed", "dots"] = "line"
    band: Sequence[float] | None = None
    """Half width of a band around y."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One part of a picture."""

    title: str
    curves: list[Curve] = field(default_factory=list)
    levels: Sequence[tuple[float, str]] = ()
    """Values that are drawn through as dotted lines, with what they are."""


def over_seeds(
    places: Sequence[float], found: Mapping[str, Sequence[Sequence[float | None]]], colours: Mapping[str, str]
) -> list[Curve]:
    """A curve a method: the mean over seeds, with a band of one standard deviation.

    Args:
        places: on the axis below.
        found: by method, for every seed its values at these places; None where there is none.
        colours: by method.
    """
    curves = []
    for method, seeds in found.items():
        columns = [[v for v in values if v is not None] for values in zip(*seeds, strict=True)]
        known = [(x, values) for x, values in zip(places, columns, strict=True) if values]
        if known:
            centre, width = ([each(values) or 0.0 for _, values in known] for each in (mean, spread))
            curves.append(Curve(x=[x for x, _ in known], y=centre, label=method, colour=colours[method], band=width))
    return curves


def panels_chart(
    path: Path, panels: Sequence[Panel], *, title: str, x_label: str, y_label: str = "", columns: int = 2,
    y_range: tuple[float, float] | None = None, log: Literal["both", "below", "none"] = "none", share_y: bool = True,
) -> None:  # fmt: skip
    """Draw panels that share the axis below.

    Args:
        path: of the PNG.
        panels: row by row.
        title: above the picture.
        x_label: below the lowest panels, with its unit.
        y_label: left of the panels, with its unit; empty where the panels' titles say it.
        columns: panels side by side.
        y_range: of the values; None: what they need.
        log: which axes are logarithmic: ``both``, with ticks below at the values of the curves; the one ``below``, but
            for a linear stretch around 0; or ``none``.
        share_y: whether the panels also share the axis of the values.
    """
    from matplotlib.ticker import MaxNLocator, NullLocator

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(1.0 + 4.2 * columns, 1.2 + 2.7 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=share_y, squeeze=False)
    entries: dict[str, Artist] = {}
    for axes, panel in zip(grid.flat, panels, strict=False):
        for curve in panel.curves:
            if curve.style == "dots":
                (drawn,) = axes.plot(curve.x, curve.y, ".", color=curve.colour, markersize=5)
            else:
                style = "-" if curve.style == "line" else "--"
                (drawn,) = axes.plot(curve.x, curve.y, style, color=curve.colour, linewidth=1.5)
            if curve.band is not None:
                below, above = ([y + side * b for y, b in zip(curve.y, curve.band, strict=True)] for side in (-1, 1))
                axes.fill_between(curve.x, below, above, color=curve.colour, alpha=0.15, linewidth=0)
            if curve.label is not None:
                entries.setdefault(curve.label, drawn)
        for level, label in panel.levels:
            entries.setdefault(label, axes.axhline(level, color="0.3", linestyle=":", linewidth=1.2))
        axes.set_title(panel.title, loc="left", fontsize=10)
        quiet(axes)
        if log == "none" and all(float(x).is_integer() for curve in panel.curves for x in curve.x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log == "below":
            axes.set_xscale("symlog", linthresh=min(abs(x) for curve in panel.curves for x in curve.x if x))
        if log == "both":
            axes.set_xscale("log")
            axes.set_yscale("log")
            places = sorted({x for curve in panel.curves for x in curve.x})
            axes.set_xticks(places, [f"{x:g}" for x in places])
            axes.xaxis.set_minor_locator(NullLocator())
        if y_range is not None:
            axes.set_ylim(*y_range)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for column in range(columns):
        # below the last panel of the column that is seen
        lowest = max(row for row in range(rows) if row * columns + column < len(panels))
        grid[lowest, column].set_xlabel(x_label)
        grid[lowest, column].tick_params(labelbottom=True)
    for row in range(rows):
        grid[row, 0].set_ylabel(y_label)
    figure.suptitle(title, fontsize=10)
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=min(5, max(1, len(entries))),
        fontsize=8, frameon=False,
    )  # fmt: skip
    save(figure, path)
