"""The picture of a run: loss and accuracy over its epochs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.runs.result import EpochRow, Result
from exports.files.atomic import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAIN, HELD_OUT, CONTROL = "#9aa5b1", "#1f6feb", "#d1495b"


def draw_curves(result: Result, path: Path) -> None:
    """Draw loss and accuracy over the epochs, with the readout-only control dashed.

    Args:
        result: the run.
        path: of the PNG, written whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scales = {"loss": 1.0} if result.test_accuracy is None else {"loss": 1.0, "accuracy": 100.0}
    figure = Figure(figsize=(9 if len(scales) == 2 else 5, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(scales), squeeze=False)[0]
    for axes, (measure, scale) in zip(panels, scales.items(), strict=True):
        _draw_panel(axes, result, measure, scale)
    figure.suptitle(_title(result), fontsize=9, wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_whole(path, buffer.getvalue())


def _draw_panel(axes: Axes, result: Result, measure: str, scale: float) -> None:
    from matplotlib.ticker import MaxNLocator

    def line(rows: tuple[EpochRow, ...], split: str, label: str, color: str, style: str = "-") -> None:
        points = [(row["epoch"], scale * value) for row in rows if (value := row[f"{split}_{measure}"]) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), style, marker="o", markersize=3, label=label, color=color)

    line(result.rows, "train", "train", TRAIN)
    line(result.rows, "validation", "validation", HELD_OUT)
    if result.control is not None:
        line(result.control.rows, "validation", "readout only, validation", CONTROL, "--")
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy (%)" if measure == "accuracy" else "loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)


def _title(result: Result) -> str:
    spec = result.spec
    title = f"{spec.rule}, {spec.network}, {spec.data}, {spec.device}"
    if result.test_accuracy is not None:
        title += f": test {result.test_accuracy:.1%}"
    if result.control is not None and result.control.test_accuracy is not None:
        title += f", readout only {result.control.test_accuracy:.1%}"
    return title
