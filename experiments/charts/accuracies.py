"""Accuracies of methods side by side: a dot a seed, a bar at the mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import GREY, Curve, Level, Mark, Text
from experiments.tables import mean, percent_text

SEED = "a seed; bar: mean"
CONTROL = "readout_only"


def strips_panel(
    groups: Mapping[str, Mapping[str, Sequence[float]]], *, x_label: str, colours: Mapping[str, str] | None = None
) -> Panel:
    """Return a panel of horizontal strips, row below row: a dot for each value, a bar at their mean.

    Args:
        groups: values by row and, within a row, by series.
        x_label: the quantity with its unit.
        colours: colour by series; others have those of their label. A series without a name is not in the legend.
    """
    marks: list[Mark] = []
    for row, strips in enumerate(groups.values()):
        step = 0.8 / len(strips)  # the strips of a row share 0.8 of its height
        for place, (series, values) in enumerate(strips.items()):
            y, colour = 0.4 - row - step * (place + 0.5), (colours or {}).get(series, "")
            dots = Curve(label=series, x=values, y=[y] * len(values), style="o", opacity=0.6, colour=colour)
            centre = [mean(values) or 0.0] * 2
            marks += [
                dots,
                Curve(label=series, x=centre, y=[y - 0.35 * step, y + 0.35 * step], width=2.5, colour=colour),
            ]
        if row and max(map(len, groups.values())) > 1:
            marks.append(Level(value=0.5 - row, colour="0.9", style="-"))
    ticks = {float(-row): name for row, name in enumerate(groups)}
    return Panel(x=Axis(x_label), y=Axis(limits=(0.5 - len(groups), 0.5), ticks=ticks), marks=marks)


def accuracy_chart(
    path: Path,
    lines: Sequence[Mapping[str, Any]],
    *,
    title: str,
    control: str | None = None,
    targets: Mapping[str, float] | None = None,
) -> None:
    """Draw the test accuracy of every method, with a dashed line at the control's.

    Args:
        path: of the PNG.
        lines: one a method, with ``method``, ``test_accuracy``, ``test_accuracy_std`` and
            ``test_accuracies`` (shares).
        title: above the picture.
        control: method whose mean is drawn through.
        targets: accuracy by method, percent, drawn as a diamond.
    """
    groups = {
        line["method"]: {"" if line["method"] == control else SEED: [100 * x for x in line["test_accuracies"]]}
        for line in lines
    }
    panel = strips_panel(groups, x_label="test accuracy (%)", colours={"": GREY})
    for row, line in enumerate(lines):
        panel.marks.append(Text(y=-row, text=percent_text(line["test_accuracy"], line["test_accuracy_std"])))
        if control is not None and line["method"] == control:
            panel.marks.append(Level(label=control, value=100 * line["test_accuracy"], axis="x", colour=GREY))
        target = (targets or {}).get(line["method"])
        if target is not None:
            panel.marks.append(_diamonds("target", [target], [float(-row)]))
    draw_figure(path, [panel], title=title, size=(6.7, 0.6 + 0.36 * len(lines)))


def grid_chart(path: Path, lines: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Draw test accuracy by group (a row) and method (a colour).

    Args:
        path: of the PNG.
        lines: one a group and method, with ``group``, ``variant`` (the method) and ``test_accuracies`` (shares).
        title: above the picture.
    """
    groups: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        groups.setdefault(line["group"], {})[line["variant"]] = [100 * x for x in line["test_accuracies"]]
    panel = strips_panel(groups, x_label="test accuracy (%); a dot a seed, a bar at the mean", colours={CONTROL: GREY})
    strips = sum(len(strips) for strips in groups.values())
    draw_figure(path, [panel], title=title, size=(6.7, 0.6 + 0.2 * len(groups) + 0.1 * strips))


def dots_chart(path: Path, methods: Mapping[str, Mapping[str, Sequence[float]]], *, title: str, x_label: str) -> None:
    """Draw values by layer (a row) and method (a colour).

    Args:
        path: of the PNG.
        methods: values by method and layer.
        title: above the picture.
        x_label: the quantity with its unit.
    """
    groups: dict[str, dict[str, Sequence[float]]] = {}
    for method, layers in methods.items():
        for layer, values in layers.items():
            groups.setdefault(layer, {})[method] = values
    draw_figure(path, [strips_panel(groups, x_label=x_label)], title=title, size=(6.0, 0.8 + 0.5 * len(groups)))


def _diamonds(label: str, x: Sequence[float], y: Sequence[float]) -> Mark:
    return Curve(label=label, x=x, y=y, style="D", size=7, colour="tab:red", hollow=True)
