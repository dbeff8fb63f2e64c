"""Marks: what can be drawn on the axes of one panel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "0.45"
"""Colour of controls."""


@dataclass(frozen=True, kw_only=True)
class Mark(ABC):
    """One thing drawn on a panel of a figure: a curve, a set of points, bars or an image."""

    label: str = ""
    """Marks of equal label share a colour and an entry of the legend; empty: no entry."""
    colour: str = ""
    """A matplotlib colour; empty: the one that the figure gives to the label."""
    fills: ClassVar[bool] = False
    """Whether the mark fills the axes, so that no grid lines are drawn."""

    @abstractmethod
    def draw(self, axes: Axes, colour: str) -> Any:
        """Draw on the axes in this colour and return the matplotlib artist for the legend."""


@dataclass(frozen=True, kw_only=True)
class Curve(Mark):
    """Points (x, y), joined by a line, marked, or both."""

    x: Sequence[float]
    y: Sequence[float | None]
    """None leaves a gap."""
    style: str = "-"
    """A format of matplotlib: line and marker, such as ``-``, ``--o``, ``D``."""
    band: tuple[Sequence[float], Sequence[float]] | None = None
    """Lower and upper edge of a shaded band."""
    error: Sequence[float] | None = None
    """Half length of an error bar at every point."""
    size: float = 4.0
    """Of the markers, points."""
    width: float = 1.5
    """Of the line, points."""
    opacity: float = 1.0
    hollow: bool = False
    """Whether markers are outlines."""

    def draw(self, axes: Axes, colour: str) -> Any:
        y = [float("nan") if value is None else value for value in self.y]
        (line,) = axes.plot(
            self.x, y, self.style, color=colour, markersize=self.size, linewidth=self.width, alpha=self.opacity
        )
        if self.hollow:
            line.set_markerfacecolor("none")
        if self.error is not None:
            axes.errorbar(self.x, y, yerr=self.error, fmt="none", ecolor=colour, elinewidth=1, capsize=2)
        if self.band is not None:
            axes.fill_between(self.x, *self.band, color=colour, alpha=0.15, linewidth=0)
        return line


@dataclass(frozen=True, kw_only=True)
class Level(Mark):
    """A straight line through the whole panel at one value of an axis."""

    value: float
    axis: Literal["x", "y"] = "y"
    """The axis that has this value: ``y`` draws a horizontal line, ``x`` a vertical one."""
    style: str = "--"
    """A line style of matplotlib."""

    def draw(self, axes: Axes, colour: str) -> Any:
        line = axes.axhline if self.axis == "y" else axes.axvline
        return line(self.value, color=colour, linestyle=self.style, linewidth=1.2)


@dataclass(frozen=True, kw_only=True)
class Span(Mark):
    """A shaded band through the whole panel, from ``low`` to ``high`` on one axis."""

    low: float
    high: float
    axis: Literal["x", "y"] = "y"

    def draw(self, axes: Axes, colour: str) -> Any:
        span = axes.axhspan if self.axis == "y" else axes.axvspan
        return span(self.low, self.high, color=colour, alpha=0.15, linewidth=0)


@dataclass(frozen=True, kw_only=True)
class Pointer(Mark):
    """A triangle on the x axis."""

    x: float

    def draw(self, axes: Axes, colour: str) -> Any:
        foot = axes.get_xaxis_transform()
        return axes.plot([self.x], [0], "^", color=colour, markersize=7, clip_on=False, transform=foot)[0]


@dataclass(frozen=True, kw_only=True)
class Text(Mark):
    """Words at a height y, right of the point x or, without x, right of the axes."""

    text: str
    y: float
    x: float | None = None

    def draw(self, axes: Axes, colour: str) -> Any:
        x, system = (1.0, ("axes fraction", "data")) if self.x is None else (self.x, "data")
        away: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "annotation_clip": False}
        return axes.annotate(self.text, (x, self.y), xycoords=system, va="center", fontsize=8, **away)


@dataclass(frozen=True, kw_only=True)
class Bars(Mark):
    """Horizontal bars."""

    y: Sequence[float]
    """Height at which each bar lies."""
    start: Sequence[float]
    """x at which each bar begins."""
    length: Sequence[float]

    def draw(self, axes: Axes, colour: str) -> Any:
        return axes.barh(self.y, self.length, left=self.start, height=0.6, color=colour)


@dataclass(frozen=True, kw_only=True)
class Histogram(Mark):
    """Outline of a histogram."""

    counts: Sequence[float]
    edges: Sequence[float]
    """One more than counts."""
    style: str = "-"

    def draw(self, axes: Axes, colour: str) -> Any:
        return axes.stairs(self.counts, self.edges, color=colour, linestyle=self.style)


@dataclass(frozen=True, kw_only=True)
class Dots(Mark):
    """Dots, the darker and larger the larger their weight."""

    x: Sequence[float]
    y: Sequence[float]
    weights: Sequence[float]
    """From 0 to 1."""
    size: float
    """Area of a dot of weight 0, square points; one of weight 1 has twice as much."""

    def draw(self, axes: Axes, colour: str) -> Any:
        from matplotlib.colors import to_rgb

        sizes = [self.size * (1 + weight) for weight in self.weights]
        shades = [(*to_rgb(colour), 0.35 + 0.65 * weight) for weight in self.weights]
        return axes.scatter(self.x, self.y, s=sizes, c=shades, linewidths=0)


@dataclass(frozen=True, kw_only=True)
class HeatMap(Mark):
    """A colour for every entry of a matrix, at x = column and y = row unless an extent is given."""

    values: Sequence[Sequence[float]]
    colours: str = "viridis"
    """A colour map of matplotlib; one that begins with ``RdBu`` is centred at zero."""
    scale: str | None = ""
    """Words beside the colour bar; None: no bar."""
    numbers: bool = False
    """Whether every entry is also written."""
    extent: tuple[float, float, float, float] | None = None
    """Left, right, bottom and top edge."""
    upside: bool = False
    """Whether the first row lies at the top."""
    square: bool = False
    """Whether entries are squares; else the matrix fills the panel."""
    fills: ClassVar[bool] = True

    def draw(self, axes: Axes, colour: str) -> Any:
        image = axes.imshow(
            self.values,
            cmap=self.colours,
            extent=self.extent,
            origin="upper" if self.upside else "lower",
            aspect="equal" if self.square else "auto",
            interpolation="nearest",
        )
        low, high = image.get_clim()
        if self.colours.startswith("RdBu"):
            high = max(abs(low), abs(high)) or 1.0
            low = -high
            image.set_clim(low, high)
        if self.numbers:
            for row, values in enumerate(self.values):
                for column, value in enumerate(values):
                    dark = high > low and (value - low) / (high - low) < 0.6
                    ink = "w" if dark else "k"
                    axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
        if self.scale is not None:
            bar = axes.figure.colorbar(image, ax=axes, shrink=0.9)
            bar.set_label(self.scale, fontsize=8)
            bar.ax.tick_params(labelsize=7)
        return image
