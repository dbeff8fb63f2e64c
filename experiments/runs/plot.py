"""The picture of a run: loss and accuracy over its epochs."""

from __future__ import annotations

from pathlib import Path

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve
from experiments.runs.result import Result

TRAIN, HELD_OUT, CONTROL = "#9aa5b1", "#1f6feb", "#d1495b"


def draw_curves(result: Result, path: Path) -> None:
    """Draw loss and accuracy over the epochs, with the readout-only control dashed.

    Args:
        result: the run.
        path: of the PNG, written whole.
    """
    panels = [_panel(result, "loss", Axis("loss"), 1.0)]
    if result.test_accuracy is not None:
        panels.append(_panel(result, "accuracy", Axis("accuracy (%)"), 100.0))
    draw_figure(path, panels, title=_title(result))


def _panel(result: Result, measure: str, y: Axis, scale: float) -> Panel:
    runs = [
        ("train", result.rows, f"train_{measure}", TRAIN, "-o"),
        ("validation", result.rows, f"validation_{measure}", HELD_OUT, "-o"),
    ]
    if result.control is not None:
        label = "readout only, validation"
        runs.append((label, result.control.rows, f"validation_{measure}", CONTROL, "--o"))
    panel = Panel(x=Axis("epoch", whole=True), y=y)
    for label, rows, key, colour, style in runs:
        points = [(row["epoch"], scale * row[key]) for row in rows if row[key] is not None]
        if points:
            epochs, values = zip(*points, strict=True)
            panel.marks.append(Curve(label=label, x=epochs, y=values, style=style, colour=colour, size=3))
    return panel


def _title(result: Result) -> str:
    spec = result.spec
    title = f"{spec.rule}, {spec.network}, {spec.data}, {spec.device}"
    if result.test_accuracy is not None:
        title += f": test {result.test_accuracy:.1%}"
    if result.control is not None and result.control.test_accuracy is not None:
        title += f", readout only {result.control.test_accuracy:.1%}"
    return title
