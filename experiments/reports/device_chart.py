"""Pictures of memory devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.charts.figure import new_figure, quiet, save
from experiments.reports.device import Panel


def device_chart(path: Path, panels: Sequence[Panel], *, title: str) -> None:
    """One picture of all panels: medians, bands from 5 to 95 % of the devices, and a few single devices.

    Args:
        path: of the PNG.
        panels: at least one.
        title: above the picture.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 0.5 + 3.1 * rows)
    figure.suptitle(title, fontsize=10, x=0.02, ha="left")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        for trace in panel.traces:
            axes.plot(next(iter(panel.lines.values()))[0], trace, color="0.55", linewidth=0.6)
        for number, (label, (x, bands)) in enumerate(panel.lines.items()):
            low, middle, high = zip(*bands, strict=True)
            dashed = label == "asked"
            colour = "0.3" if dashed else f"C{number}"
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(x, middle, color=colour, linewidth=1.5, linestyle="--" if dashed else "-", label=label)
        if len(panel.lines) > 1:
            beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if len(panel.lines) > 2 else {}
            axes.legend(fontsize=7, frameon=False, **beside)
        if panel.log:
            axes.set_xscale("log")
        axes.set_title(panel.title, loc="left", fontsize=9)
        axes.set_xlabel(panel.x_label, fontsize=8)
        axes.set_ylabel(panel.y_label, fontsize=8)
        axes.tick_params(labelsize=7)
        quiet(axes)
    save(figure, path)
