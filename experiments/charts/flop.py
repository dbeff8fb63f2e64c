"""The cost of training steps: ratios over a size, phases of each method, counted beside measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Bars, Curve, Level, Mark, Text

Points = Sequence[tuple[float, float]]


def ratio_panel(
    methods: Mapping[str, Points], *, size: str, levels: Mapping[str, float], published: tuple[str, Points]
) -> Panel:
    """Return a panel of curves: the FLOP of a training step, divided by those of backpropagation, against a size.

    Args:
        methods: (size, ratio) by method.
        size: label of the x axis.
        levels: ratios that are drawn as level lines, by label.
        published: label and points (size, ratio) of figures by others.
    """
    marks: list[Mark] = [
        Curve(label=label, x=[x for x, _ in points], y=[y for _, y in points], style="-o")
        for label, points in methods.items()
    ]
    label, points = published
    x, y = zip(*points, strict=True)
    marks.append(Curve(label=label, x=x, y=y, style="D", colour="0.2", size=7, hollow=True))
    for (label, value), style in zip(levels.items(), ("--", ":", "-."), strict=False):
        marks.append(Level(label=label, value=value, colour="0.4", style=style))
    return Panel(x=Axis(size), y=Axis("FLOP of a step over those of bp"), marks=marks)


def phases_panel(methods: Mapping[str, Mapping[str, float]]) -> Panel:
    """Return a panel with a stacked bar for every method: the FLOP of each phase of a training step.

    Args:
        methods: FLOP by method and phase, as shares of the total of backpropagation.
    """
    rows = [-float(row) for row in range(len(methods))]
    ends = [0.0] * len(methods)
    marks: list[Mark] = []
    for phase in dict.fromkeys(phase for shares in methods.values() for phase in shares):
        lengths = [shares.get(phase, 0.0) for shares in methods.values()]
        if any(lengths):
            marks.append(Bars(label=phase, y=rows, start=ends, length=lengths))
            ends = [end + length for end, length in zip(ends, lengths, strict=True)]
    marks += [Text(x=end, y=y, text=f"{end:.2f}", colour="k") for y, end in zip(rows, ends, strict=True)]
    ticks = dict(zip(rows, methods, strict=True))
    return Panel(x=Axis("share of bp's total", limits=(0, 1.15 * max(ends))), y=Axis(ticks=ticks), marks=marks)


def time_chart(path: Path, lines: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Draw time and FLOP of a training step, both divided by those of bp; every network and method has a row.

    Args:
        path: of the PNG.
        lines: with ``method``, ``size`` (of the network), ``flop/bp``, ``wall/bp`` and ``cpu/bp``.
        title: above the picture.
    """
    rows = [-float(row) for row in range(len(lines))]
    marks: list[Mark] = [Level(value=1, axis="x", colour="0.4")]
    measures = (("flop/bp", "D", "FLOP, counted"), ("cpu/bp", "o", "processor time"), ("wall/bp", "x", "wall time"))
    marks += [
        Curve(label=label, x=[line[key] for line in lines], y=rows, style=style, size=5)
        for key, style, label in measures
    ]
    names = [f"{line['method']}, {line['size']}" for line in lines]
    y = Axis(ticks=dict(zip(rows, names, strict=True)))
    panel = Panel(x=Axis("a step over one of bp"), y=y, marks=marks)
    draw_figure(path, [panel], title=title, size=(6.7, 0.7 + 0.3 * len(lines)))
