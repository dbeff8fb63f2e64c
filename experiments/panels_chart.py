"""Pictures of experiments: several quantities through training, a panel each, a curve a method."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.curves_chart import COLOURS
from experiments.files import write_bytes
from experiments.tables import mean, spread


@dataclass(frozen=True)
class Panel:
    """One quantity."""

    title: str
    curves: Mapping[str, Sequence[Sequence[float | None]]]
    """By method: for every seed its values, one at each place of the axis; None where there is none."""


def panels_chart(
    path: Path,
    panels: Sequence[Panel],
    places: Sequence[float],
    *,
    title: str,
    x_label: str,
    columns: int = 3,
    log: bool = False,
) -> None:
    """Mean over seeds of every quantity, with a band of one standard deviation.

    Args:
        path: of the PNG.
        panels: row by row.
        places: on the shared axis below.
        title: above the picture.
        x_label: of the shared axis.
        columns: panels in one row.
        log: whether the axis below is logarithmic, but for a linear stretch around 0.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.7 * rows + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    colours = dict(zip(dict.fromkeys(m for panel in panels for m in panel.curves), COLOURS * 3, strict=False))
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    labelled: set[str] = set()
    for axes, panel in zip(grid, panels, strict=False):
        for method, seeds in panel.curves.items():
            columns_of = [[v for v in values if v is not None] for values in zip(*seeds, strict=True)]
            known = [(x, values) for x, values in zip(places, columns_of, strict=True) if values]
            if not known:
                continue
            xs = [x for x, _ in known]
            centre = [mean(values) or 0.0 for _, values in known]
            width = [spread(values) or 0.0 for _, values in known]
            label = None if method in labelled else method
            labelled.add(method)
            style = "-o" if len(colours) <= len(COLOURS) or list(colours).index(method) < len(COLOURS) else "--s"
            axes.plot(xs, centre, style, color=colours[method], markersize=3, linewidth=1.3, label=label)
            lower, upper = ([c + side * s for c, s in zip(centre, width, strict=True)] for side in (-1, 1))
            axes.fill_between(xs, lower, upper, color=colours[method], alpha=0.15, linewidth=0)
        if log:
            axes.set_xscale("symlog", linthresh=min(abs(x) for x in places if x))
        axes.set_title(panel.title, loc="left", fontsize=9)
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=8)
        axes.spines[["right", "top"]].set_visible(False)
    figure.supxlabel(x_label, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write_bytes(path, picture.getvalue())
