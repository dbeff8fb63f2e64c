"""Pictures of experiments: panels of theory as lines and of measurements as points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.charts.figure import new_figure, quiet, save

Style = Literal["-", "--", ":", "o", "D"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: points of x and y; None leaves a gap."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: str = "tab:blue"
    style: Style = "-"
    """A line, or a mark at every point."""
    spread: Sequence[float] | None = None
    """Half length of an error bar at every point."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes."""

    title: str
    lines: Sequence[Line]
    x_label: str
    y_label: str
    log: Literal["", "x", "y", "xy"] = ""
    y_range: tuple[float, float] | None = None


def lines_chart(path: Path, panels: Sequence[Panel], *, title: str, columns: int = 2) -> None:
    """Draw panels side by side; labels that are equal share one line of the legend below.

    Args:
        path: of the PNG, written whole.
        panels: row by row.
        title: above the picture.
        columns: panels in a row.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(3.7 * columns + 0.6, 2.8 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    keys: dict[str, Any] = {}
    for axes, panel in zip(grid, panels, strict=False):
        for line in panel.lines:
            y = [float("nan") if value is None else value for value in line.y]
            look = {"color": line.colour, "linewidth": 1.2, "markersize": 3.5, "label": line.label}
            if line.spread is None:
                (drawn,) = axes.plot(line.x, y, line.style, **look)
            else:
                drawn = axes.errorbar(line.x, y, yerr=line.spread, fmt=line.style, capsize=2, **look)
            keys.setdefault(line.label, drawn)
        for axis in panel.log:
            getattr(axes, f"set_{axis}scale")("log")
        if panel.y_range is not None:
            axes.set_ylim(*panel.y_range)
        axes.set_title(panel.title, loc="left", fontsize=9)
        axes.set_xlabel(panel.x_label, fontsize=9)
        axes.set_ylabel(panel.y_label, fontsize=9)
        axes.tick_params(which="both", labelsize=8)
        quiet(axes)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.legend(
        handles=list(keys.values()), labels=list(keys), loc="outside lower center", ncols=min(3, len(keys)),
        fontsize=8, frameon=False,
    )  # fmt: skip
    save(figure, path)
