"""Pictures of spike trains: a dot an event, channels over milliseconds."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.files import write_atomic
from neurofa.core.events import Events


def raster(
    spikes: Tensor | Events, path: Path, *, tick: float = 1e-3, title: str = "", sample: int = 0,
    teach: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Draw one sample of a sequence data set.

    Counts of spikes are black dots, darker and larger where more fall in a tick, and red ones where they are negative;
    values that are no counts (a current, a forecast's input) are drawn as an image, or as a line where there is one
    channel.

    Args:
        spikes: (T, N) or (T, ...), flattened; or a batch: Events of (T, B, N).
        path: of the PNG.
        tick: length of a tick, s.
        title: above the picture.
        sample: which of the batch, for Events.
        teach: ticks [begin, end) in which the target counts, shaded.

    Raises:
        NeurofaError: no such sample, or nothing to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    values = one_sample(spikes, sample)
    ticks, channels = values.shape
    ms = 1e3 * tick
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if not bool((values == values.round()).all()):
        if channels == 1:
            axes.plot([(t + 0.5) * ms for t in range(ticks)], values[:, 0].tolist(), color="tab:blue", linewidth=1.2)
            axes.set_ylabel("value")
        else:
            drawn = axes.imshow(
                values.T.numpy(), aspect="auto", origin="lower", extent=(0, ticks * ms, -0.5, channels - 0.5),
                cmap="Greys", interpolation="nearest",
            )  # fmt: skip
            figure.colorbar(drawn, ax=axes, label="value")
            axes.set_ylabel("channel")
    else:
        at, unit = values.nonzero(as_tuple=True)
        counts = values[at, unit]
        # dots shrink when there are many, but stay seen
        size = min(12.0, max(1.2, 4000 / max(1, len(at))))
        most = float(counts.abs().max()) if len(at) else 1.0
        for sign, rgb in ((1, (0.0, 0.0, 0.0)), (-1, (0.8, 0.1, 0.1))):
            chosen = counts.sign() == sign
            if not bool(chosen.any()):
                continue
            shares = (counts[chosen].abs() / most).tolist()
            axes.scatter(
                ((at[chosen] + 0.5) * ms).tolist(), unit[chosen].tolist(), s=[size * (1 + share) for share in shares],
                c=[(*rgb, 0.35 + 0.65 * share) for share in shares], linewidths=0,
            )  # fmt: skip
        axes.set_ylim(-0.5 - channels / 100, channels - 0.5 + channels / 100)
        axes.set_ylabel("channel")
        axes.text(
            1, 1.02, f"{int(counts.abs().sum()):,} spikes", ha="right", va="bottom", fontsize=9,
            transform=axes.transAxes,
        )  # fmt: skip
    if teach is not None:
        axes.axvspan(teach[0] * ms, teach[1] * ms, color="tab:orange", alpha=0.15, linewidth=0)
    axes.set_xlim(0, ticks * ms)
    axes.set_xlabel("time (ms)")
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write_atomic(path, picture.getvalue())


def one_sample(spikes: Tensor | Events, sample: int = 0) -> Tensor:
    """One sample as a dense array, (T, N) on the CPU.

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
