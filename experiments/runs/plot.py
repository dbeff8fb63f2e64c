"""Pictures of a run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.runs.result import Result, Row
from hwmodels.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, HELD_OUT, CONTROL = "#9aa5b1", "#1f6feb", "#d1495b"


def draw_curves(result: Result, path: Path) -> None:
    """Draw loss and accuracy over the epochs, with the readout-only control dashed.

    Args:
        result: the run.
        path: of the PNG, written whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    regression = result.test_accuracy is None
    figure = Figure(figsize=(5 if regression else 9, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 if regression else 2, squeeze=False)[0]
    _panel(panels[0], result, "loss", 1.0)
    if not regression:
        _panel(panels[1], result, "accuracy", 100.0)
    _title(figure, result)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomic(path, buffer.getvalue())


def _panel(axes: Axes, result: Result, what: str, scale: float) -> None:
    from matplotlib.ticker import MaxNLocator

    _line(axes, result.rows, f"train_{what}", scale, label="train", color=TRAIN)
    _line(axes, result.rows, f"validation_{what}", scale, label="validation", color=HELD_OUT)
    if result.control is not None:
        _line(
            axes, result.control.rows, f"validation_{what}", scale, label="readout only, validation", color=CONTROL,
            style="--",
        )  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy (%)" if what == "accuracy" else "loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)


def _line(
    axes: Axes, rows: tuple[Row, ...], key: str, scale: float, *, label: str, color: str, style: str = "-"
) -> None:
    points = [(row["epoch"], scale * row[key]) for row in rows if row[key] is not None]
    if points:
        axes.plot(*zip(*points, strict=True), style, marker="o", markersize=3, label=label, color=color)


def _title(figure: Figure, result: Result) -> None:
    spec = result.spec
    title = f"{spec.rule}, {spec.network}, {spec.data}, {spec.device}"
    if result.test_accuracy is not None:
        title += f": test {result.test_accuracy:.1%}"
    if result.control is not None and result.control.test_accuracy is not None:
        title += f", readout only {result.control.test_accuracy:.1%}"
    figure.suptitle(title, fontsize=9, wrap=True)
