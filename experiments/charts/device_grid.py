"""Pictures of experiments: several methods on each of several devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.charts.figure import new_figure, save


def grid_chart(path: Path, lines: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Test accuracy by group (a row) and method (a colour): a dot a seed, a bar at the mean.

    Args:
        path: of the PNG.
        lines: one a group and method, with ``group``, ``variant`` (the method), ``test_accuracy`` and
            ``test_accuracies`` (shares).
        title: above the picture.
    """
    groups = list(dict.fromkeys(line["group"] for line in lines))
    methods = list(dict.fromkeys(line["variant"] for line in lines))
    colours = {m: "0.45" if m == "readout_only" else f"C{k}" for k, m in enumerate(methods)}
    figure = new_figure(7.5, 1.4 + 0.2 * len(groups) * (1 + len(methods) / 2))
    axes = figure.subplots()
    step = 0.8 / len(methods)
    for line in lines:
        at = -groups.index(line["group"]) + 0.4 - step * (methods.index(line["variant"]) + 0.5)
        dots = [100 * x for x in line["test_accuracies"]]
        colour = colours[line["variant"]]
        axes.plot(dots, [at] * len(dots), "o", color=colour, markersize=3.5, alpha=0.6)
        centre = 100 * line["test_accuracy"]
        axes.plot([centre, centre], [at - 0.4 * step, at + 0.4 * step], color=colour, linewidth=2.5)
    for edge in range(1, len(groups)):
        axes.axhline(0.5 - edge, color="0.9", linewidth=0.8)
    keys = [axes.plot([], [], "o", color=colours[m], markersize=4, label=m)[0] for m in methods]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=8, frameon=False)
    axes.margins(x=0.05)
    axes.set_yticks([-k for k in range(len(groups))], groups)
    axes.set_ylim(0.5 - len(groups), 0.5)
    axes.set_xlabel("test accuracy (%); a dot a seed, a bar at the mean")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
