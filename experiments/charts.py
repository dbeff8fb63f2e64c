"""Pictures of experiments: accuracies of methods side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.files import write_bytes
from experiments.tables import percent


def accuracy_chart(
    path: Path, lines: Sequence[Mapping[str, Any]], *, title: str, control: str | None = None,
    targets: Mapping[str, float] | None = None,
) -> None:  # fmt: skip
    """Test accuracy of every method: a dot a seed, the mean as a bar, the control as a dashed line.

    Args:
        path: of the PNG.
        lines: one a method, with ``method``, ``test_accuracy``, ``test_accuracy_std`` and ``test_accuracies`` (shares).
        title: above the picture.
        control: method whose mean is drawn through.
        targets: accuracy by method, percent, drawn as a tick.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.9 + 0.42 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    every = [100 * x for line in lines for x in line["test_accuracies"]]
    low, high = min(every), max(every)
    room = max(high - low, 0.5)
    for at, line in enumerate(reversed(lines)):
        centre = 100 * line["test_accuracy"]
        colour = "0.6" if line["method"] == control else "tab:blue"
        axes.barh(at, centre, color=colour, alpha=0.35, height=0.6)
        dots = [100 * x for x in line["test_accuracies"]]
        axes.plot(dots, [at] * len(dots), "o", color=colour, markersize=4)
        figures = percent(line["test_accuracy"], line["test_accuracy_std"])
        axes.text(high + 0.04 * room, at, figures, va="center", fontsize=9)
        wanted = (targets or {}).get(str(line["method"]))
        if wanted is not None:
            axes.plot([wanted, wanted], [at - 0.38, at + 0.38], color="tab:red", linewidth=1.5)
        if line["method"] == control:
            axes.axvline(centre, color="0.3", linestyle="--", linewidth=1)
    if targets:
        axes.plot([], [], color="tab:red", linewidth=1.5, label="target")
    if control is not None:
        axes.plot([], [], color="0.3", linestyle="--", linewidth=1, label=control)
    if targets or control is not None:
        axes.legend(loc="lower left", fontsize=8)
    axes.set_xlim(low - 0.1 * room, high + 0.3 * room)
    axes.set_yticks(range(len(lines)), [str(line["method"]) for line in reversed(lines)])
    axes.set_xlabel("test accuracy (%)")
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write_bytes(path, picture.getvalue())
