"""The grammar of pictures: every mark is drawn, labels have colours of their own, means over seeds have their bands."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.charts.accuracies import strips_panel
from experiments.charts.figure import Axis, Panel, draw_figure, label_colours
from experiments.charts.marks import (
    Bars,
    Curve,
    Dots,
    HeatMap,
    Histogram,
    Level,
    Mark,
    Pointer,
    Span,
    Text,
)
from experiments.charts.seeds import STEPS, mean_curve

MARKS: list[Mark] = [
    Curve(label="a", x=[0, 1, 2], y=[1.0, None, 3.0], band=([0, 1, 2], [2, 3, 4]), style="-o"),
    Curve(label="b", x=[1], y=[2], error=[0.5], style="D", hollow=True),
    Level(label="c", value=1.5),
    Span(low=0.5, high=1, axis="x"),
    Pointer(label="a", x=1),
    Text(text="right of the axes", y=2),
    Bars(label="d", y=[1, 2], start=[0, 0], length=[1, 2]),
    Histogram(label="e", counts=[1, 2], edges=[0, 1, 2]),
    Dots(x=[1, 2], y=[1, 2], weights=[0, 1], size=3, colour="k"),
    Dots(x=[], y=[], weights=[], size=3, colour="k"),
    HeatMap(values=[[0, 1], [2, 3]], numbers=True),
    HeatMap(values=[[0, 0]], colours="RdBu", scale=None),
]


def size_of(path: Path) -> tuple[int, ...]:
    from matplotlib.image import imread

    shape: tuple[int, ...] = imread(path).shape
    return shape


def test_every_mark_is_drawn(tmp_path: Path) -> None:
    assert {type(mark) for mark in MARKS} == set(Mark.__subclasses__())
    panels = [Panel(title=type(mark).__name__, marks=[mark]) for mark in MARKS]
    draw_figure(tmp_path / "marks.png", panels, title="all", columns=3)
    assert size_of(tmp_path / "marks.png")[0] > 1000


@pytest.mark.parametrize(
    "axis",
    [
        Axis("x", scale="log", second=("seconds", 0.1)),
        Axis("x", scale="log", limits=(1e-6, 2)),
        Axis("x", ticks={1: "one", 2: "two"}),
        Axis("x", whole=True),
        STEPS,
    ],
)
def test_every_axis_is_drawn(tmp_path: Path, axis: Axis) -> None:
    draw_figure(tmp_path / "axis.png", [Panel(x=axis, marks=[Curve(x=[1, 2], y=[1, 2])])])
    assert (tmp_path / "axis.png").stat().st_size > 1000


def test_a_place_without_marks_stays_empty(tmp_path: Path) -> None:
    panel = Panel(marks=[Curve(x=[0, 1], y=[0, 1])])
    draw_figure(tmp_path / "two.png", [panel, Panel()])
    draw_figure(tmp_path / "one.png", [panel, panel])
    assert size_of(tmp_path / "two.png") == size_of(tmp_path / "one.png")
    assert (tmp_path / "two.png").stat().st_size < (tmp_path / "one.png").stat().st_size


@pytest.mark.parametrize("count", [1, 8, 30])
def test_labels_have_colours_of_their_own(count: int) -> None:
    labels = [f"label {k}" for k in range(count)]
    colours = label_colours([*labels, *labels])
    assert list(colours) == labels
    assert len(set(colours.values())) == count


def test_a_mean_over_seeds_has_the_band_that_is_wanted() -> None:
    seeds = [[1.0, 2.0, None, -1.0], [3.0, None, None, -2.0]]
    (mark,) = mean_curve("m", [0, 1, 2, 3], seeds, positive=True)
    assert isinstance(mark, Curve)
    assert (mark.x, mark.y, mark.band) == ([0, 1], [2.0, 2.0], ([1.0, 2.0], [3.0, 2.0]))
    (mark,) = mean_curve("m", [0, 1, 2, 3], seeds, band="deviation")
    assert isinstance(mark, Curve)
    assert mark.band is not None
    assert mark.band[0] == pytest.approx([2 - 2**0.5, 2, -1.5 - 0.5**0.5])
    (mark,) = mean_curve("m", [0, 1, 2, 3], seeds[:1])
    assert isinstance(mark, Curve)
    assert mark.band is None
    assert mean_curve("m", [0], [[None], [None]]) == []


def test_strips_stand_in_their_rows() -> None:
    panel = strips_panel({"first": {"a": [1.0, 3.0], "b": [2.0]}, "second": {"a": [5.0]}}, x_label="x")
    assert panel.y.ticks == {0.0: "first", -1.0: "second"}
    dots = [mark for mark in panel.marks if isinstance(mark, Curve) and mark.style == "o"]
    assert [round(float(mark.y[0] or 0)) for mark in dots] == [0, 0, -1]
    bars = [mark for mark in panel.marks if isinstance(mark, Curve) and mark.style == "-"]
    assert [mark.x[0] for mark in bars] == [2.0, 2.0, 5.0]
