"""The grammar of pictures: axes, panels of marks, and the one function that draws a figure of panels."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.charts.marks import Mark
from hwmodels.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#8c6d31")
"""Of labels, in order of appearance, told apart without seeing red and green; more labels share a continuous scale.

Source: Okabe and Ito 2008, Color Universal Design (all but the last).
"""
FEW = 500
"""A logarithmic axis below this ratio of its ends has ticks at 1, 2 and 5."""


@dataclass(frozen=True)
class Axis:
    """Label, scale, limits and ticks of the x or the y axis of a panel."""

    label: str = ""
    """The quantity with its unit."""
    scale: Literal["linear", "log", "symlog"] = "linear"
    """``symlog`` is linear around zero and logarithmic beyond."""
    linear: float = 1.0
    """Of ``symlog``: the axis is linear from minus this value to this value."""
    limits: tuple[float | None, float | None] = (None, None)
    """Lowest and highest value of the axis; None: chosen from the marks."""
    ticks: Mapping[float, str] | None = None
    """Labels by the value at which they stand; None: numbers that matplotlib chooses."""
    whole: bool = False
    """Whether ticks stand at whole numbers only, as for epochs."""
    second: tuple[str, float] | None = None
    """A second scale of an x axis, above the panel, for another unit: its label, and the factor by which values of this
    axis are multiplied to give those of the second; None: no second scale."""

    def apply(self, axes: Axes, which: Literal["x", "y"]) -> None:
        """Give the axes of matplotlib this scale, these limits and ticks."""
        from matplotlib.ticker import MaxNLocator, NullLocator

        axis = axes.xaxis if which == "x" else axes.yaxis
        linear = {"linthresh": self.linear, "linscale": 0.4} if self.scale == "symlog" else {}
        (axes.set_xscale if which == "x" else axes.set_yscale)(self.scale, **linear)
        (axes.set_xlim if which == "x" else axes.set_ylim)(*self.limits)
        axis.set_label_text(self.label, fontsize=9)
        axis.set_tick_params(which="both", labelsize=8)
        if self.ticks is not None:
            axis.set_minor_locator(NullLocator())
            axis.set_ticks(list(self.ticks), labels=list(self.ticks.values()))
        elif self.whole:
            axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        elif self.scale == "log":
            _plain_ticks(axis, axis.get_view_interval())
        if self.second is not None:
            label, factor = self.second
            scales: Any = (lambda x: x * factor, lambda x: x / factor)
            above = axes.secondary_xaxis("top", functions=scales)
            above.set_xlabel(label, fontsize=9)
            above.tick_params(which="both", labelsize=8)
            if self.scale == "log":
                _plain_ticks(above.xaxis, axis.get_view_interval())


def _plain_ticks(axis: Any, ends: Sequence[float]) -> None:
    """Write 1, 2, 5 on a logarithmic axis of few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if ends[1] < FEW * ends[0]:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes with its marks, drawn in their order; an empty place without marks."""

    title: str = ""
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    marks: list[Mark] = field(default_factory=list)

    def finish(self, axes: Axes) -> None:
        """Scale and label the axes, after the marks are drawn; hide them where there are none."""
        if not self.marks:
            axes.set_axis_off()
            return
        self.x.apply(axes, "x")
        self.y.apply(axes, "y")
        axes.set_title(self.title, loc="left", fontsize=9)
        if not any(mark.fills for mark in self.marks):
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)


def draw_figure(
    path: Path,
    panels: Sequence[Panel],
    *,
    title: str = "",
    columns: int = 2,
    size: tuple[float, float] | None = None,
    share_y: bool = False,
) -> None:
    """Draw panels in rows with one legend below, and write the PNG (150 dots an inch) whole.

    The whole of a picture::

        loss = Curve(label="dfa", x=[1, 2, 3], y=[2.3, 1.1, 0.6])
        draw_figure(path, [Panel(x=Axis("epoch", whole=True), y=Axis("loss", scale="log"), marks=[loss])])

    Args:
        path: of the PNG.
        panels: row by row.
        title: above all panels.
        columns: panels side by side.
        size: width and height of a panel, inches; None: the usual size, larger for a single panel.
        share_y: whether all panels share the limits of their y axes.
    """
    from matplotlib.figure import Figure

    if size is None:
        size = (4.2, 2.9) if len(panels) > 1 else (6.0, 3.6)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    colours = label_colours([mark.label for panel in panels for mark in panel.marks if mark.label and not mark.colour])
    width = columns * size[0] + 0.8
    across, below = _legend_shape(list(dict.fromkeys(m.label for p in panels for m in p.marks if m.label)), width)
    figure = Figure(figsize=(width, rows * size[1] + 0.35 * bool(title) + 0.2 * below + 0.2), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).flat)
    entries: dict[str, Artist] = {}
    empty = [Panel()] * (len(grid) - len(panels))
    for axes, panel in zip(grid, [*panels, *empty], strict=True):
        for mark in panel.marks:
            artist = mark.draw(axes, mark.colour or colours.get(mark.label, COLOURS[0]))
            if mark.label:
                entries.setdefault(mark.label, artist)
        panel.finish(axes)
    if title:
        figure.suptitle(title, fontsize=10, x=0.01, ha="left", wrap=True)
    if entries:
        style: dict[str, Any] = {"ncols": across, "fontsize": 8, "frameon": False}
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", **style)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write_atomic(path, picture.getvalue())


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each label: one of few well told apart, or one of a continuous scale."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    labels = list(dict.fromkeys(labels))
    if len(labels) <= len(COLOURS):
        return dict(zip(labels, COLOURS, strict=False))
    scale = colormaps["viridis"].resampled(len(labels))
    return {label: to_hex(scale(place)) for place, label in enumerate(labels)}


def _legend_shape(labels: Sequence[str], width: float) -> tuple[int, int]:
    """Return columns and rows of a legend of that width, inches; a letter of 8 points takes about 0.067 inches."""
    if not labels:
        return 1, 0
    longest = max(map(len, labels))
    columns = max(1, min(len(labels), int(width / (0.067 * (longest + 9)))))
    return columns, -(-len(labels) // columns)
