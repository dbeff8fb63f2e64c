"""Pictures of experiments: accuracies of methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.charts.figure import new_figure, save
from experiments.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def accuracy_chart(
    path: Path, lines: Sequence[Mapping[str, Any]], *, title: str, control: str | None = None,
    targets: Mapping[str, float] | None = None,
) -> None:  # fmt: skip
    """Test accuracy of every method: a dot a seed, a bar at the mean, a dashed line at the control's.

    Args:
        path: of the PNG.
        lines: one a method, with ``method``, ``test_accuracy``, ``test_accuracy_std`` and
            ``test_accuracies`` (shares).
        title: above the picture.
        control: method whose mean is drawn through.
        targets: accuracy by method, percent, drawn as a diamond.
    """
    figure = new_figure(7.5, 1.3 + 0.36 * len(lines))
    axes = figure.subplots()
    for at, line in enumerate(reversed(lines)):
        colour = "0.45" if line["method"] == control else "tab:blue"
        centre = 100 * line["test_accuracy"]
        dots = [100 * x for x in line["test_accuracies"]]
        axes.plot(dots, [at] * len(dots), "o", color=colour, markersize=4, alpha=0.6)
        axes.plot([centre, centre], [at - 0.28, at + 0.28], color=colour, linewidth=2.5)
        figures = percent(line["test_accuracy"], line["test_accuracy_std"])
        axes.text(1.02, at, figures, va="center", fontsize=9, transform=axes.get_yaxis_transform())
        wanted = (targets or {}).get(line["method"])
        if wanted is not None:
            axes.plot(wanted, at, marker="D", color="none", markeredgecolor="tab:red", markersize=7)
        if line["method"] == control:
            axes.axvline(centre, color="0.45", linestyle="--", linewidth=1)
    keys = [axes.plot([], [], "o", color="tab:blue", alpha=0.6, markersize=4, label="a seed; bar: mean")[0]]
    if targets:
        keys += axes.plot([], [], marker="D", color="none", markeredgecolor="tab:red", label="target")
    if control is not None:
        keys += axes.plot([], [], color="0.45", linestyle="--", linewidth=1, label=control)
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=8, frameon=False)
    axes.margins(x=0.08)
    axes.set_yticks(range(len(lines)), [line["method"] for line in reversed(lines)])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_xlabel("test accuracy (%)")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def logarithmic(axes: Axes, places: Sequence[float]) -> None:
    """Make the axis below logarithmic, with plain numbers 1, 2, 5 where it spans few decades.

    Args:
        axes: of the picture.
        places: of what is drawn, above 0.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    if places and max(places) < 300 * min(places):
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
