"""Pictures of one sample in a trained spiking network: spikes, membranes, eligibility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from experiments.charts.figure import new_figure, quiet, save
from experiments.charts.raster import one_sample
from hwmodels.errors import NeurofaError
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import Events
from neurofa.core.layer import LocalView
from neurofa.core.network import Network
from neurofa.neurons.leaky import LeakyIntegrator
from neurofa.spiking.eligibility import as_ticks
from neurofa.spiking.neuron import Coefficient
from neurofa.spiking.sequence import parts, rest, sweep
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import Learner

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("tab:blue", "tab:orange", "tab:green")
"""Of the neurons and weights that are shown."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One sample in all layers of neurons."""

    inputs: Tensor
    """(T, I)."""
    views: dict[str, LocalView]
    """Of T ticks of one sample."""
    tick: float
    """s."""


@torch.no_grad()
def record(network: Network, xs: Tensor | Events, *, tick: float) -> Recording:
    """Run one sample in one piece.

    Args:
        network: with neurons.
        xs: (T, 1, *input_shape) or events.
        tick: length of a tick, s.

    Raises:
        NeurofaError: no layer fires.
    """
    training = network.training
    network.eval()
    ((_, ticks, x),) = parts(network, xs, xs.shape[0])
    made, _ = sweep(network, x, ticks, rest(network, 1))
    network.train(training)
    firing = {name: made.views[name] for name, layer in network.items() if _fires(layer)}
    if not firing:
        raise NeurofaError("got a network without spiking neurons; expected some to draw; use network snn")
    return Recording(inputs=one_sample(xs), views=firing, tick=tick)


def _fires(layer: object) -> bool:
    return isinstance(layer, Temporal) and layer.neuron.spiking


def draw(learner: Learner, xs: Tensor | Events, folder: Path, *, tick: float, title: str) -> list[str]:
    """Draw the three pictures of one sample.

    Args:
        learner: of the trained network, for the rule's eligibility.
        xs: (T, 1, *input_shape) or events.
        folder: for ``raster.png``, ``membranes.png`` and ``eligibility.png``.
        tick: length of a tick, s.
        title: above each.

    Returns:
        Names of the files.
    """
    found = record(learner.network, xs, tick=tick)
    raster_chart(found, folder / "raster.png", title=title)
    membrane_chart(found, folder / "membranes.png", title=title)
    eligibility_chart(learner, found, folder / "eligibility.png", title=title)
    return ["raster.png", "membranes.png", "eligibility.png"]


def raster_chart(found: Recording, path: Path, *, title: str) -> None:
    """Spikes of the input (or its values) above those of each firing layer."""
    rows: list[tuple[str, Tensor]] = [("input", found.inputs)]
    rows += [(name, view.y.flatten(1)) for name, view in found.views.items()]
    figure, grid = _figure(len(rows), heights=[2.4] + [2.0] * (len(rows) - 1))
    ms = 1e3 * found.tick
    for axes, (name, values) in zip(grid, rows, strict=True):
        ticks, channels = values.shape
        if bool((values == values.round()).all()):
            at, unit = values.nonzero(as_tuple=True)
            size = min(9.0, max(0.8, 3000 / max(1, len(at))))
            axes.scatter(((at + 0.5) * ms).tolist(), unit.tolist(), s=size, color="black", linewidths=0)
            axes.set_ylim(-0.5 - channels / 50, channels - 0.5 + channels / 50)
            axes.set_ylabel("channel" if name == "input" else "neuron")
            share = float((values != 0).double().mean())
            axes.set_title(f"{name}: {int(values.abs().sum()):,} spikes, {share:.2%} of all places", **_SMALL)
        elif channels == 1:
            axes.plot([(t + 0.5) * ms for t in range(ticks)], values[:, 0].tolist(), color="black", linewidth=1)
            axes.set_ylabel("value")
            axes.set_title(name, **_SMALL)
        else:
            axes.imshow(
                values.T.numpy(), aspect="auto", origin="lower", extent=(0, ticks * ms, -0.5, channels - 0.5),
                cmap="Greys", interpolation="nearest",
            )  # fmt: skip
            axes.set_ylabel("channel")
            axes.set_title(name, **_SMALL)
        axes.set_xlim(0, ticks * ms)
    _finish(figure, grid, path, title)


def membrane_chart(found: Recording, path: Path, *, title: str) -> None:
    """Potentials of the liveliest neurons of the first firing layer, as distances from their thresholds."""
    name, view = next(iter(found.views.items()))
    spikes, above = view.y.flatten(1), view.after["v"].flatten(1)
    chosen = _liveliest(spikes)
    figure, grid = _figure(len(chosen), heights=[1.6] * len(chosen))
    ms = 1e3 * found.tick
    times = [(t + 0.5) * ms for t in range(len(spikes))]
    for axes, neuron, colour in zip(grid, chosen, COLOURS, strict=False):
        axes.plot(times, above[:, neuron].tolist(), color=colour, linewidth=1.2)
        axes.axhline(0, color="0.3", linestyle=":", linewidth=1.2)
        fired = spikes[:, neuron].nonzero().flatten().tolist()
        axes.plot([times[t] for t in fired], [float(above[t, neuron]) for t in fired], "|", color="black", markersize=9)
        axes.set_title(f"{name}, neuron {neuron}: {len(fired)} spikes", **_SMALL)
        axes.set_xlim(0, len(spikes) * ms)
    figure.supylabel("potential above the threshold", fontsize=10)
    _finish(figure, grid, path, title)


def eligibility_chart(learner: Learner, found: Recording, path: Path, *, title: str) -> None:
    """Eligibility of weights between the busiest inputs and the liveliest neurons of the lowest firing layer.

    Solid: e_t, what the rule multiplies by the learning signal of tick t; dashed, where the rule has a filter: the
    filtered one that takes its place.
    """
    name, view = next(iter(found.views.items()))
    inputs = dense_rows(view.x) if view.x.layout == torch.sparse_csr else view.x
    sources = _largest(inputs.flatten(1).abs().sum(0))
    chosen = [(neuron, sources[k % len(sources)]) for k, neuron in enumerate(_liveliest(view.y.flatten(1)))]
    last = learner.network.layer(learner.network.readout)
    kappa = 0.0
    if learner.rule.filtered and isinstance(last, Temporal) and isinstance(last.neuron, LeakyIntegrator):
        kappa = last.neuron.kappa
    figure, grid = _figure(len(chosen), heights=[1.6] * len(chosen))
    ms = 1e3 * found.tick
    times = [(t + 0.5) * ms for t in range(len(inputs))]
    for axes, (neuron, source), colour in zip(grid, chosen, COLOURS, strict=False):
        if view.x.dim() == 2:  # a kernel's weight has an eligibility at every position
            own = eligibility(learner, name, view, neuron, source)
            axes.plot(times, own, color=colour, linewidth=1.2, label="eligibility")
            if kappa:
                axes.plot(times, _filtered(own, kappa), "--", color=colour, linewidth=1, label="filtered")
        axes.set_title(f"{name}: weight from input {source} to neuron {neuron}", **_SMALL)
        axes.set_xlim(0, len(times) * ms)
    handles, labels = grid[0].get_legend_handles_labels()
    if kappa and handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.supylabel("eligibility", fontsize=10)
    _finish(figure, grid, path, title)


def eligibility(learner: Learner, name: str, view: LocalView, neuron: int, source: int) -> list[float]:
    """e_t = c_t . eps_t with eps_t = M_t eps_(t-1) + g_t x_t of one weight, tick by tick, as the rule has it.

    Args:
        learner: of the network.
        name: of a fully connected layer of neurons.
        view: of its ticks, one sample.
        neuron: at the weight's output.
        source: its input.

    Raises:
        NeurofaError: a layer without neurons.
    """
    layer, rule = learner.network.layer(name), learner.rule
    if not isinstance(layer, Temporal):
        raise NeurofaError(f"got layer '{name}' of kind {layer.name}; expected one of neurons; name another layer")
    dynamics = rule.dynamics(name, layer, view)
    if dynamics is None:
        left = {key: as_ticks(view.after[key], 1) for key in layer.neuron.leaves if key in view.after}
        dynamics = layer.neuron.dynamics(left)
    inputs = dense_rows(view.x) if view.x.layout == torch.sparse_csr else view.x
    memories = len(dynamics.enter)
    eps = [0.0] * memories
    found = []

    def at(coefficient: Coefficient, t: int) -> float:
        return float(coefficient[t, 0, neuron]) if isinstance(coefficient, Tensor) else coefficient

    for t, x in enumerate(inputs[:, source].tolist()):
        eps = [
            sum((at(dynamics.move[a][b], t) * eps[b] for b in range(memories)), at(dynamics.enter[a], t) * x)
            for a in range(memories)
        ]
        found.append(sum(at(dynamics.out[a], t) * eps[a] for a in range(memories)))
    return found


def _filtered(values: Sequence[float], kappa: float) -> list[float]:
    found, kept = list[float](), 0.0
    for value in values:
        kept = kappa * kept + value
        found.append(kept)
    return found


def _liveliest(spikes: Tensor) -> list[int]:
    """The neurons that begin or stop firing most often, (T, n): those that fire in every tick show nothing."""
    return _largest((spikes.diff(dim=0) != 0).sum(0))


def _largest(values: Tensor) -> list[int]:
    chosen: list[int] = values.topk(min(len(COLOURS), len(values))).indices.tolist()
    return chosen


_SMALL: dict[str, Any] = {"loc": "left", "fontsize": 9}


def _figure(rows: int, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    figure = new_figure(7.5, 0.9 + sum(heights))
    grid = list(figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=list(heights))[:, 0])
    for axes in grid:
        quiet(axes)
    return figure, grid


def _finish(figure: Figure, grid: Sequence[Axes], path: Path, title: str) -> None:
    grid[-1].set_xlabel("time (ms)")
    figure.suptitle(title, fontsize=10)
    save(figure, path)
