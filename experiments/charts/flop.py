"""Pictures of what steps cost: a ratio over a size for several methods, and the phases of each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.charts.figure import new_figure, save

if TYPE_CHECKING:
    pass

Points = Sequence[tuple[float, float]]


def flop_chart(
    path: Path, lines: Mapping[str, Points], phases: Mapping[str, Mapping[str, float]], *, title: str, size: str,
    lying: Mapping[str, float], marked: tuple[str, Points],
) -> None:  # fmt: skip
    """Ratios to backpropagation on the left, phases of one setting on the right.

    Args:
        path: of the PNG.
        lines: (size, ratio) by method.
        phases: shares of backpropagation's total by method and phase.
        title: above the picture.
        size: what is on the abscissa.
        lying: ratios to draw as level lines, by label.
        marked: label and points (size, ratio) of somebody else.
    """
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    for index, (method, points) in enumerate(lines.items()):
        left.plot(*zip(*points, strict=True), "o-", color=f"C{index}", markersize=4, label=method)
    left.plot(*zip(*marked[1], strict=True), "D", color="none", markeredgecolor="0.2", markersize=7, label=marked[0])
    for index, (label, at) in enumerate(lying.items()):
        left.axhline(at, color="0.4", linestyle=("--", ":", "-.")[index % 3], linewidth=1, label=label)
    left.set_xlabel(size)
    left.set_ylabel("FLOP of a step over those of bp")
    left.legend(fontsize=8, frameon=False)
    left.grid(alpha=0.25)
    names = list(dict.fromkeys(phase for found in phases.values() for phase in found))
    rows = list(range(len(phases)))[::-1]
    below = [0.0] * len(phases)
    for index, phase in enumerate(names):
        widths = [found.get(phase, 0.0) for found in phases.values()]
        if any(widths):
            right.barh(rows, widths, left=below, color=f"C{index + 4}", label=phase, height=0.6)
            below = [b + w for b, w in zip(below, widths, strict=True)]
    for y, total in zip(rows, below, strict=True):
        right.text(total + 0.01, y, f"{total:.2f}", va="center", fontsize=8)
    right.set_yticks(rows, list(phases))
    right.set_xlim(0, 1.15 * max(below))
    right.set_xlabel("share of bp's total")
    right.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def time_chart(path: Path, lines: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Time beside FLOP, both over bp's, a line a network and method.

    Args:
        path: of the PNG.
        lines: with ``method``, ``size`` (of the network), ``flop/bp``, ``wall/bp`` and ``cpu/bp``.
        title: above the picture.
    """
    figure = new_figure(7.5, 1.6 + 0.3 * len(lines))
    axes = figure.subplots()
    at = list(range(len(lines)))[::-1]
    for key, marker, colour, label in (
        ("flop/bp", "D", "0.3", "FLOP, counted"), ("cpu/bp", "o", "C0", "processor time"),
        ("wall/bp", "x", "C3", "wall time"),
    ):  # fmt: skip
        axes.plot([line[key] for line in lines], at, marker, color=colour, markersize=5, label=label)
    axes.axvline(1, color="0.4", linestyle="--", linewidth=1)
    axes.set_yticks(at, [f"{line['method']}, {line['size']}" for line in lines], fontsize=8)
    axes.set_xlabel("a step over one of bp")
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=10)
    save(figure, path)
