"""Spike trains: a dot an event, channels over milliseconds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve, Dots, HeatMap, Mark, Span
from hwmodels.errors import NeurofaError
from neurofa.core.events import Events


def raster_chart(
    path: Path,
    spikes: Tensor | Events,
    *,
    tick: float = 1e-3,
    title: str = "",
    sample: int = 0,
    teach: tuple[int, int] | None = None,
) -> None:
    """Draw one sample of a sequence data set.

    Args:
        path: of the PNG.
        spikes: (T, N) or (T, ...), flattened; or a batch: Events of (T, B, N).
        tick: length of a tick, s.
        title: above the picture.
        sample: which of the batch, for Events.
        teach: ticks [begin, end) in which the target counts, shaded.

    Raises:
        NeurofaError: no such sample, or nothing to draw.
    """
    values = one_sample(spikes, sample)
    count = f"{int(values.abs().sum()):,} spikes" if holds_counts(values) else ""
    panel = raster_panel(values, tick=tick, title=count)
    if teach is not None:
        panel.marks.append(Span(low=1e3 * tick * teach[0], high=1e3 * tick * teach[1], axis="x", colour="tab:orange"))
    draw_figure(path, [panel], title=title, size=(6.7, 3.2))


def raster_panel(values: Tensor, *, tick: float, title: str, unit: str = "channel") -> Panel:
    """Return a panel with the spikes or values of one sample over time, a row for each channel.

    Counts of spikes are black dots, darker and larger where more fall in a tick, and orange ones where they are
    negative; values that are no counts (a current, a forecast's input) are an image, or a line where there is one
    channel.

    Args:
        values: (T, N) on the CPU.
        tick: length of a tick, s.
        title: above the panel.
        unit: what a row is.
    """
    ticks, channels = values.shape
    ms = 1e3 * tick
    y = Axis(unit, limits=(-0.5 - channels / 100, channels - 0.5 + channels / 100))
    if holds_counts(values):
        marks = _dots(values, ms)
    elif channels == 1:
        y = Axis("value")
        marks = [Curve(x=[(t + 0.5) * ms for t in range(ticks)], y=values[:, 0].tolist(), width=1.2)]
    else:
        extent = (0.0, ticks * ms, -0.5, channels - 0.5)
        marks = [HeatMap(values=values.T.tolist(), colours="Greys", extent=extent, scale="value")]
    return Panel(title=title, x=Axis("time (ms)", limits=(0, ticks * ms)), y=y, marks=marks)


def _dots(values: Tensor, ms: float) -> list[Mark]:
    at, unit = values.nonzero(as_tuple=True)
    counts = values[at, unit]
    # dots shrink when there are many, but stay visible
    size = min(6.0, max(0.6, 2000 / max(1, len(at))))
    largest = float(counts.abs().max()) if len(at) else 1.0
    marks: list[Mark] = []
    for sign, colour in ((1, "black"), (-1, "tab:orange")):
        chosen = counts.sign() == sign
        x, y = ((at[chosen] + 0.5) * ms).tolist(), unit[chosen].tolist()
        weights = (counts[chosen].abs() / largest).tolist()
        marks.append(Dots(x=x, y=y, weights=weights, size=size, colour=colour))
    return marks


def holds_counts(values: Tensor) -> bool:
    """Return whether all values are whole numbers."""
    return bool((values == values.round()).all())


def one_sample(spikes: Tensor | Events, sample: int = 0) -> Tensor:
    """Return one sample as a dense array, (T, N) on the CPU.

    Raises:
        NeurofaError: no such sample, or nothing in it.
    """
    if isinstance(spikes, Events):
        if not 0 <= sample < spikes.batch:
            raise NeurofaError(f"got sample {sample} of {spikes.batch}; expected 0 to {spikes.batch - 1}; change it")
        units, rows = spikes.units.cpu(), spikes.rows.cpu()
        values = torch.zeros(spikes.ticks, spikes.channels)
        for t in range(spikes.ticks):
            begin, end = rows[t * spikes.batch + sample], rows[t * spikes.batch + sample + 1]
            values[t] = torch.bincount(units[begin:end], minlength=spikes.channels)
        return values
    values = spikes.detach().float().cpu()
    values = values.unsqueeze(1) if values.ndim == 1 else values.flatten(1)
    if not values.numel():
        raise NeurofaError(f"got spikes of shape {tuple(spikes.shape)}; expected some ticks and channels; pass (T, N)")
    return values
