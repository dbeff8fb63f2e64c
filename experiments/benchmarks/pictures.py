"""Pictures of one sample in a trained spiking network: spikes, membranes, eligibility."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.benchmarks.eligibility import dense_inputs, eligibility_trace, low_pass
from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.marks import Curve, Level, Mark
from experiments.charts.raster import holds_counts, one_sample, raster_panel
from hwmodels.errors import NeurofaError
from neurofa.core.events import Events
from neurofa.core.network import Network
from neurofa.core.view import LocalView
from neurofa.spiking.sequence import chunks, initial_states
from neurofa.spiking.temporal import Temporal
from neurofa.training.learner import Learner, forward_pass
from neurofa.training.sequence_rules import filter_decay

SHOWN = 3
"""Neurons and weights in the pictures of membranes and eligibility."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Inputs, states and spikes of one sample in all layers of spiking neurons."""

    inputs: Tensor
    """(T, I): the sample with I input channels."""
    views: dict[str, LocalView]
    """Inputs, states and spikes of T ticks, by layer."""
    tick: float
    """Length of a tick, s."""

    @property
    def times(self) -> list[float]:
        """Middle of every tick, ms."""
        return [(t + 0.5) * 1e3 * self.tick for t in range(len(self.inputs))]

    @property
    def time_axis(self) -> Axis:
        """Axis of time over all ticks, ms."""
        return Axis("time (ms)", limits=(0, len(self.inputs) * 1e3 * self.tick))


@torch.no_grad()
def record_sample(network: Network, xs: Tensor | Events, *, tick: float) -> Recording:
    """Run one sample through a network, and return inputs, states and spikes of all ticks.

    Args:
        network: a network with spiking neurons.
        xs: (T, 1, *input_shape) or events.
        tick: length of a tick, s.

    Raises:
        NeurofaError: no layer fires.
    """
    training = network.training
    network.eval()
    ((_, ticks, x),) = chunks(network, xs, xs.shape[0])
    result = forward_pass(network, x, states=initial_states(network, 1), ticks=ticks)
    network.train(training)
    firing = {
        name: result.views[name]
        for name, layer in network.items()
        if isinstance(layer, Temporal) and layer.neuron.spiking
    }
    if not firing:
        raise NeurofaError("got a network without spiking neurons; expected some to draw; use network snn")
    return Recording(inputs=one_sample(xs), views=firing, tick=tick)


def draw_sample(learner: Learner, xs: Tensor | Events, folder: Path, *, tick: float, title: str) -> list[str]:
    """Draw the three pictures of one sample; that of eligibility only where the lowest layer is fully connected.

    Args:
        learner: learner with the trained network, whose rule computes eligibility.
        xs: (T, 1, *input_shape) or events.
        folder: for ``raster.png``, ``membranes.png`` and ``eligibility.png``.
        tick: length of a tick, s.
        title: above each.

    Returns:
        Names of the files.
    """
    recording = record_sample(learner.network, xs, tick=tick)
    pictures = {
        "raster.png": (spike_panels(recording), 2.1),
        "membranes.png": (membrane_panels(recording), 1.7),
        "eligibility.png": (eligibility_panels(learner, recording), 1.7),
    }
    drawn = {name: picture for name, picture in pictures.items() if picture[0]}
    for name, (panels, height) in drawn.items():
        # the time axis is that of the lowest panel
        upper = [replace(panel, x=replace(panel.x, label="")) for panel in panels[:-1]]
        draw_figure(folder / name, [*upper, panels[-1]], title=title, columns=1, size=(6.7, height))
    return list(drawn)


def spike_panels(recording: Recording) -> list[Panel]:
    """Return one panel with the spikes (or values) of the input, and one with the spikes of each firing layer."""
    rows = {"input": recording.inputs} | {name: view.y.flatten(1) for name, view in recording.views.items()}
    panels = []
    for name, values in rows.items():
        title = name
        if holds_counts(values):
            share = float((values != 0).double().mean())
            title = f"{name}: {int(values.abs().sum()):,} spikes, {share:.2%} of all places"
        unit = "channel" if name == "input" else "neuron"
        panels.append(raster_panel(values, tick=recording.tick, title=title, unit=unit))
    return panels


def membrane_panels(recording: Recording) -> list[Panel]:
    """Return panels with membrane potential and spikes of some neurons of the first firing layer.

    The neurons are those that begin or stop firing most often; potentials are counted from the threshold.
    """
    name, view = next(iter(recording.views.items()))
    spikes, potentials = view.y.flatten(1), view.after["v"].flatten(1)
    times, panels = recording.times, []
    for neuron in _liveliest(spikes):
        values = potentials[:, neuron].tolist()
        fired = spikes[:, neuron].nonzero().flatten().tolist()
        marks: list[Mark] = [
            Curve(label="potential above the threshold", x=times, y=values, width=1.2),
            Level(value=0, colour="0.3", style=":"),
        ]
        x, y = [times[t] for t in fired], [values[t] for t in fired]
        marks.append(Curve(label="spike", x=x, y=y, style="|", size=9, colour="k"))
        title = f"{name}, neuron {neuron}: {len(fired)} spikes"
        panels.append(Panel(title=title, x=recording.time_axis, marks=marks))
    return panels


def eligibility_panels(learner: Learner, recording: Recording) -> list[Panel]:
    """Return panels with the eligibility of some weights of the lowest firing layer over time.

    The weights lie between the inputs with most spikes and the neurons that begin or stop firing most often. Solid:
    e_t, what the rule multiplies by the learning signal of tick t; dashed, where the rule has a filter: the filtered
    one that takes its place.

    Args:
        learner: learner with the network, whose rule computes eligibility.
        recording: inputs, states and spikes of one sample.
    """
    name, view = next(iter(recording.views.items()))
    if view.x.dim() != 2:  # a kernel's weight has an eligibility at every position
        return []
    inputs = dense_inputs(view)
    sources = _largest(inputs.flatten(1).abs().sum(0))
    decay = 0.0
    if learner.rule.declares.sequences.filtered:
        decay = filter_decay(learner.network, learner.rule)
    panels = []
    for place, neuron in enumerate(_liveliest(view.y.flatten(1))):
        source = sources[place % len(sources)]
        trace = eligibility_trace(learner, name, view, neuron, source)
        marks: list[Mark] = [Curve(label="eligibility", x=recording.times, y=trace, width=1.2)]
        if decay:
            filtered = low_pass(trace, decay)
            marks.append(Curve(label="filtered", x=recording.times, y=filtered, style="--", width=1))
        title = f"{name}: weight from input {source} to neuron {neuron}"
        panels.append(Panel(title=title, x=recording.time_axis, marks=marks))
    return panels


def _liveliest(spikes: Tensor) -> list[int]:
    """Return the neurons that begin or stop firing most often, (T, n): those that fire in every tick show nothing."""
    return _largest((spikes.diff(dim=0) != 0).sum(0))


def _largest(values: Tensor) -> list[int]:
    places: list[int] = values.topk(min(SHOWN, len(values))).indices.tolist()
    return places
