"""Sequences: checks, chunks of ticks, and the states before the first tick."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.event_rows import dense_rows
from neurofa.core.events import Events
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.view import State
from neurofa.maps.affine import Affine
from neurofa.spiking.temporal import Temporal

CHUNK = 100
"""Default number of ticks of a chunk: memory grows with the chunk, not with the sequence."""


def has_memory(network: Network) -> bool:
    """Return whether a layer keeps state from tick to tick."""
    return any(isinstance(layer, Temporal) for _, layer in network.items())


def check_sequence(network: Network, xs: Tensor | Events, samples: int | None = None, *, binary: bool = False) -> None:
    """Refuse sequences that do not match a network.

    Args:
        network: the network that receives them.
        xs: (T, B, *input_shape) or events.
        samples: B according to the targets; None: not known.
        binary: whether inputs have to be 0 or 1.

    Raises:
        NeurofaError: wrong shape or dtype, an empty sequence, batch first, values other than spikes.
    """
    shape = tuple(xs.shape)
    inner, flat = network.input_shape, math.prod(network.input_shape)
    expected = f"(T, B, {', '.join(map(str, inner))})"
    fits = shape[2:] == inner if isinstance(xs, Tensor) else shape[2] == flat
    if len(shape) < 3 or not fits or min(shape[:2]) < 1:
        raise NeurofaError(f"got a sequence of shape {shape}; expected {expected}, time first, not empty; reshape it")
    if samples is not None and shape[1] != samples:
        if shape[0] == samples:
            raise NeurofaError(
                f"got a sequence of shape {shape} for {samples} targets: batch first; expected {expected}, time first;"
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


def initial_states(network: Network, batch: int) -> dict[str, State]:
    """Return the states of all layers with a memory before the first tick.

    Args:
        network: network of any layers.
        batch: B, number of samples.
    """
    like = next(network.parameters())
    return {
        name: layer.initial_state(torch.zeros(batch, *network.shapes[name], dtype=like.dtype, device=like.device))
        for name, layer in network.items()
        if isinstance(layer, Temporal)
    }


def chunks(network: Network, xs: Tensor | Events, chunk: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yield the chunks of a sequence: first tick, number of ticks K, and (K B, *input_shape) rows.

    Events stay sparse if the first layer accepts them.

    Args:
        network: the network that receives the sequence.
        xs: (T, B, *input_shape) or events.
        chunk: K; the last chunk may be shorter.
    """
    like = next(network.parameters())
    sparse = takes_events(network.layer(network.names[0]))
    total = xs.shape[0]
    for begin in range(0, total, chunk):
        end = min(begin + chunk, total)
        if isinstance(xs, Tensor):
            rows = xs[begin:end].flatten(0, 1)
        else:
            rows = xs.slice_ticks(begin, end).to_csr(like.dtype)
            if not sparse:
                rows = dense_rows(rows).view(-1, *network.input_shape)
        yield begin, end - begin, rows


def takes_events(layer: Layer) -> bool:
    """Return whether the inputs of a layer may be rows of events: it maps vectors, by exact products (no periphery)."""
    return isinstance(layer, Affine) and layer.map.input_dims == 2 and layer.arrays is None
