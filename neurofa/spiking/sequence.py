"""A chunk of ticks through a network: every layer sweeps all ticks before the next one begins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.event_rows import dense_rows, event_rows
from neurofa.core.events import Events
from neurofa.core.layer import Layer, LocalView, State
from neurofa.core.network import Network, ReturnsOf, Tick
from neurofa.maps.dense_map import DenseMap
from neurofa.spiking.temporal import Temporal

CHUNK = 100
"""Ticks that are worked on at once where nobody says otherwise: memory grows with them, not with the sequence."""


def has_memory(network: Network) -> bool:
    """Whether some layer remembers from tick to tick."""
    return any(isinstance(layer, Temporal) for _, layer in network.items())


def check(network: Network, xs: Tensor | Events, samples: int | None = None, *, binary: bool = False) -> None:
    """Refuse sequences that are none.

    Args:
        network: for which they are.
        xs: (T, B, *input_shape) or events.
        samples: B, where it is known from the targets.
        binary: whether inputs have to be 0 or 1.

    Raises:
        NeurofaError: wrong shape or dtype, nothing at all, batch first, values that are no spikes.
    """
    shape = tuple(xs.shape)
    inner, flat = network.input_shape, math.prod(network.input_shape)
    wanted = f"(T, B, {', '.join(map(str, inner))})"
    fits = shape[2:] == inner if isinstance(xs, Tensor) else shape[2] == flat
    if len(shape) < 3 or not fits or min(shape[:2]) < 1:
        raise NeurofaError(f"got a sequence of shape {shape}; expected {wanted}, time first, not empty; reshape it")
    if samples is not None and shape[1] != samples:
        if shape[0] == samples:
            raise NeurofaError(
                f"got a sequence of shape {shape} for {samples} targets: batch first; expected {wanted}, time first;"
                " use xs.transpose(0, 1)"
            )
        raise NeurofaError(
            f"got a sequence of {shape[1]} samples with {samples} targets; expected one target a sample; check both"
        )
    if isinstance(xs, Tensor):
        if not xs.is_floating_point():
            raise NeurofaError(f"got a sequence of {xs.dtype}; expected floating point; convert it with xs.float()")
        own = next(network.parameters()).dtype
        if xs.dtype != own:
            raise NeurofaError(
                f"got a sequence of {xs.dtype} for weights of {own}; expected one dtype; use xs.to({own})"
            )
        if binary and not bool(((xs == 0) | (xs == 1)).all()):
            raise NeurofaError(
                f"got inputs from {float(xs.min()):.4g} to {float(xs.max()):.4g} where spikes were promised; expected 0"
                " and 1; encode the values first, or use binary=False"
            )


def rest(network: Network, batch: int) -> dict[str, State]:
    """States of all layers with a memory before the first tick.

    Args:
        network: of any layers.
        batch: B, samples.
    """
    some = next(network.parameters())
    return {
        name: layer.rest(torch.zeros(batch, *network.shapes[name], dtype=some.dtype, device=some.device))
        for name, layer in network.items()
        if isinstance(layer, Temporal)
    }


def parts(network: Network, xs: Tensor | Events, chunk: int) -> Iterator[tuple[int, int, Tensor]]:
    """Cut a sequence into chunks: first tick, number of ticks K, and (K B, *input_shape) rows.

    Events stay events where the first layer can use them.
    """
    some = next(network.parameters())
    sparse = _takes_events(network.layer(network.names[0]))
    total = xs.shape[0]
    for begin in range(0, total, chunk):
        end = min(begin + chunk, total)
        if isinstance(xs, Tensor):
            rows = xs[begin:end].flatten(0, 1)
        else:
            rows = xs.slice_ticks(begin, end).to_csr(some.dtype)
            if not sparse:
                rows = dense_rows(rows).view(-1, *network.input_shape)
        yield begin, end - begin, rows


@torch.no_grad()
def sweep(
    network: Network,
    x: Tensor,
    ticks: int,
    states: Mapping[str, State],
    *,
    gen: torch.Generator | None = None,
    returns: ReturnsOf | None = None,
    kappa: float = 0.0,
    below: bool = False,
) -> tuple[Tick, dict[str, State]]:
    """K ticks, remembering what every layer may see when it learns.

    Dense spikes at the lowest map are converted to events where these are faster
    (:func:`~neurofa.core.event_rows.event_rows`).

    Args:
        network: of any layers; those without a memory take the ticks as samples.
        x: (K B, *input_shape), tick by tick.
        ticks: K.
        states: of the layers with a memory, before the first tick; with traces, where there are some.
        gen: source of dropout masks, read noise and the noise of arrays.
        returns: for chained rules, the return weights beside each layer.
        kappa: decay of the filter through which errors of hidden layers arrive.
        below: whether errors will be sent from layer to layer.

    Returns:
        Output (K B, o) with views, and the states after the last tick, without traces.
    """
    views: dict[str, LocalView] = {}
    after: dict[str, State] = {}
    learns_below = False
    for name, layer in network.items():
        params = layer.read(gen)
        back = returns(name, params) if returns is not None and params else None
        if not learns_below and x.dim() == 2 and _takes_events(layer):
            x = event_rows(x)
        if isinstance(layer, Temporal):
            before = {**states[name], **layer.start(x, gen)}
            y, left, after[name] = layer.sweep(params, x, ticks, before)
            through = 0.0 if name == network.readout else kappa
            views[name] = LocalView(x, y, params, before, left, back, kappa=through)
        else:
            before = layer.start(x, gen)
            y, left, graph = layer.record(params, x, before, back, below and learns_below)
            views[name] = LocalView(x, y, params, before, left, back, None, graph)
        learns_below = learns_below or bool(params)
        x = y
    return Tick(x, views), after


def _takes_events(layer: Layer) -> bool:
    """Whether inputs may be rows of events: products are exact, and of vectors."""
    return isinstance(layer, DenseMap) and layer.arrays is None


def check_memory(after: Mapping[str, State], begin: int, ticks: int) -> None:
    """Refuse to go on with membranes that are not numbers: spikes alone would hide them.

    Args:
        after: states after a chunk.
        begin: its first tick.
        ticks: K.

    Raises:
        NeurofaError: naming the first such layer.
    """
    for name, state in after.items():
        for key, value in state.items():
            if value.device.type == "cpu" and not bool(value.sum().isfinite()):
                raise NeurofaError(
                    f"got NaN or infinity in '{key}' of layer '{name}' in ticks {begin} to {begin + ticks - 1};"
                    " expected finite potentials; check the input, lower the learning rate or the feedback gain"
                )


@torch.no_grad()
def respond(
    network: Network, xs: Tensor | Events, *, chunk: int = CHUNK, gen: torch.Generator | None = None
) -> Iterator[tuple[int, int, Tick]]:
    """What a network makes of sequences, chunk by chunk: first tick, K, and the tick of K B rows.

    Args:
        network: in the mode that is asked about.
        xs: (T, B, *input_shape) or events.
        chunk: K.
        gen: source of noise.
    """
    check(network, xs)
    states = rest(network, xs.shape[1])
    for begin, ticks, x in parts(network, xs, chunk):
        tick, states = sweep(network, x, ticks, states, gen=gen)
        yield begin, ticks, tick
