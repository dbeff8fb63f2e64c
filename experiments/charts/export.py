"""Exported files: matrices, and histograms of their conductances."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import HeatMap, Histogram
from exports.hdf5.read import HardwareFile

MOST = 6
"""Matrices in one picture."""
PIXELS = 400
"""Rows and columns of a matrix that are drawn; of larger ones, evenly chosen."""
BINS = 50


def export_chart(path: Path, stored: HardwareFile) -> int:
    """Draw every matrix (the first six), and below it how its conductances are spread over their range.

    Args:
        path: of the PNG.
        stored: an open file.

    Returns:
        The number of matrices that are drawn.
    """
    names = stored.matrices()[:MOST]
    if not names:
        return 0
    panels = [_matrix_panel(stored, name) for name in names]
    tiled = set(stored.tiled())
    if tiled & set(names):
        panels += [_conductance_panel(stored, name) if name in tiled else Panel() for name in names]
    draw_figure(path, panels, title=stored.path.name, columns=len(names), size=(3.2, 2.9))
    return len(names)


def _matrix_panel(stored: HardwareFile, name: str) -> Panel:
    title = f"{name}\n{' x '.join(map(str, stored[name].shape))}"
    rows, columns = stored[name].shape[0], math.prod(stored[name].shape[1:])
    # a large matrix is thinned: its rows and columns keep the numbers that they have in the file
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    unit = str(stored.attributes(name).get("unit", "1"))
    words = "weight" if unit == "1" else f"weight ({unit})"
    image = HeatMap(values=_thinned(stored, name).tolist(), colours="RdBu", upside=True, extent=extent, scale=words)
    x = "input" if len(stored[name].shape) == 2 else "input channel and position in the kernel"
    return Panel(title=title, x=Axis(x, whole=True), y=Axis("output", whole=True), marks=[image])


def _thinned(stored: HardwareFile, name: str) -> Tensor:
    """Return evenly chosen rows and columns of a matrix, read without the rest where it is large."""
    item = stored[name]
    step = max(1, -(-item.shape[0] // PIXELS))
    flat = stored.rows(name, slice(None, None, step)).flatten(1)
    return flat[:, :: max(1, -(-flat.shape[1] // PIXELS))]


def _conductance_panel(stored: HardwareFile, name: str) -> Panel:
    attributes = stored.attributes(f"{name}_tiles")
    low, high = attributes["g_min"] * 1e6, attributes["g_max"] * 1e6
    counts: dict[str, Tensor] = {}
    for _, _, planes in stored.tiles(name):
        for plane, g in planes.items():
            if plane != "faults":
                more = torch.histc(g.float() * 1e6, bins=BINS, min=low, max=high)
                counts[plane] = counts.get(plane, torch.zeros_like(more)) + more
    edges = torch.linspace(low, high, BINS + 1).tolist()
    panel = Panel(x=Axis("conductance (uS)"), y=Axis("devices", scale="symlog"))
    for plane, count in counts.items():
        style = "--" if plane.startswith("target_") else "-"
        panel.marks.append(Histogram(label=plane, counts=count.tolist(), edges=edges, style=style))
    return panel
