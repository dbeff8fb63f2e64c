"""Pictures of experiments: panels side by side, each with curves or with a coloured grid of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.charts.accuracy import logarithmic
from experiments.charts.figure import new_figure, quiet, save

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:cyan", "tab:pink", "tab:brown", "0.45")


@dataclass(frozen=True)
class Curve:
    """One line of a panel."""

    label: str
    """The same label has the same colour in all panels, and one line in the legend."""
    x: Sequence[float]
    y: Sequence[float]
    style: str = "-"
    """Of matplotlib, such as ``--`` or ``o``."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A panel of curves."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A panel with a number for every pair of values."""

    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    """From the bottom to the top."""
    values: Sequence[Sequence[float]]
    """A row for each y."""


@dataclass
class _Legend:
    colours: dict[str, str] = field(default_factory=dict)
    handles: dict[str, Artist] = field(default_factory=dict)


def panels_chart(path: Path, panels: Sequence[Curves | Grid], *, title: str) -> None:
    """Draw panels side by side, up to three in a row, four as two by two.

    Args:
        path: of the PNG.
        panels: from left to right.
        title: above them.
    """
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(max(6.5, 4.2 * columns), 3.6 * rows + 0.6)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    legend = _Legend()
    for axes, panel in zip(places, panels, strict=False):
        if isinstance(panel, Curves):
            _curves(axes, panel, legend)
        else:
            _grid(figure, axes, panel)
        axes.set_xlabel(panel.x_label)
        axes.set_ylabel(panel.y_label)
        axes.set_title(panel.title, loc="left", fontsize=9)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    if legend.handles:
        figure.legend(
            list(legend.handles.values()), list(legend.handles), loc="outside lower center", fontsize=8, frameon=False,
            ncols=min(3 if columns == 1 else 4, len(legend.handles)),
        )  # fmt: skip
    save(figure, path)


def _curves(axes: Axes, panel: Curves, legend: _Legend) -> None:
    if panel.log_x:
        logarithmic(axes, [x for curve in panel.curves for x in curve.x])
    if panel.log_y:
        axes.set_yscale("log")
    for curve in panel.curves:
        colour = legend.colours.setdefault(curve.label, COLOURS[len(legend.colours) % len(COLOURS)])
        drawn = axes.plot(curve.x, curve.y, curve.style, color=colour, markersize=4, linewidth=1.5)
        legend.handles.setdefault(curve.label, drawn[0])
    quiet(axes)


def _grid(figure: Figure, axes: Axes, panel: Grid) -> None:
    image = axes.imshow(panel.values, origin="lower", cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(panel.x)), [f"{x:g}" for x in panel.x])
    axes.set_yticks(range(len(panel.y)), [f"{y:g}" for y in panel.y])
    low, high = image.get_clim()
    for row, values in enumerate(panel.values):
        for column, value in enumerate(values):
            dark = high > low and (value - low) / (high - low) < 0.6
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color="w" if dark else "k")
    figure.colorbar(image, ax=axes, shrink=0.9)
