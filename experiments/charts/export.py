"""Pictures of exported files: matrices, and histograms of their conductances."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from exports.hdf5.read import Stored
from hwmodels.files import write_atomic

MOST = 6
"""Matrices in one picture."""
PIXELS = 400
"""Rows and columns of a matrix that are drawn; of larger ones, evenly chosen."""


def export_chart(path: Path, stored: Stored) -> int:
    """Draw every matrix (the first six), and below it how its conductances are spread over their range.

    Args:
        path: of the PNG.
        stored: an open file.

    Returns:
        The number of matrices that are drawn.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = stored.matrices()[:MOST]
    if not names:
        return 0
    tiled = set(stored.tiled())
    rows = 1 + bool(tiled & set(names))
    figure = Figure(figsize=(3.2 * len(names), 0.6 + 2.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(stored.path.name, fontsize=10, x=0.02, ha="left")
    grid = figure.subplots(rows, len(names), squeeze=False)
    for column, name in enumerate(names):
        matrix = _thinned(stored, name)
        size = float(matrix.abs().max()) or 1.0
        axes = grid[0][column]
        picture = axes.imshow(
            matrix.numpy(), cmap="RdBu", vmin=-size, vmax=size, aspect="auto", interpolation="nearest"
        )
        figure.colorbar(picture, ax=axes).ax.tick_params(labelsize=6)
        axes.set_title(f"{name}\n{' x '.join(map(str, stored.file[name].shape))}", loc="left", fontsize=8)
        axes.set_xlabel("input", fontsize=8)
        axes.set_ylabel("output", fontsize=8)
        axes.tick_params(labelsize=6)
        if rows == 2:
            _histogram(grid[1][column], stored, name, there=name in tiled)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_atomic(path, content.getvalue())
    return len(names)


def _thinned(stored: Stored, name: str) -> Tensor:
    """Some rows and columns of a matrix, read without the rest where it is large."""
    item = stored.file[name]
    step = max(1, -(-item.shape[0] // PIXELS))
    flat = torch.from_numpy(item[::step]).flatten(1)
    return flat[:, :: max(1, -(-flat.shape[1] // PIXELS))]


def _histogram(axes, stored: Stored, name: str, *, there: bool) -> None:  # type: ignore[no-untyped-def]
    if not there:
        axes.set_visible(False)
        return
    about = stored.attributes(f"{name}_tiles")
    low, high = about["g_min"] * 1e6, about["g_max"] * 1e6
    counts: dict[str, Tensor] = {}
    for _, _, planes in stored.tiles(name):
        for key, g in planes.items():
            if key != "faults":
                found = torch.histc(g.float() * 1e6, bins=50, min=low, max=high)
                counts[key] = counts.get(key, torch.zeros_like(found)) + found
    edges = torch.linspace(low, high, 51).tolist()
    for key, found in counts.items():
        axes.stairs(found.tolist(), edges, label=key, linestyle="--" if key.startswith("target_") else "-")
    axes.set_yscale("symlog")
    axes.set_xlabel("conductance, uS", fontsize=8)
    axes.set_ylabel("devices", fontsize=8)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
