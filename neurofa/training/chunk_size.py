"""Ticks that are processed together where nobody chose their number."""

from __future__ import annotations

import math

from hwmodels.errors import NeurofaError
from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.spiking.eligibility import is_constant
from neurofa.spiking.sequence import CHUNK
from neurofa.spiking.temporal import Temporal, blank_view, dynamics_of
from neurofa.training.sequence_rules import filter_decay

MEMORY = 2**29
"""Bytes that the tensors of one chunk may take, about."""
TENSORS = 10
"""Tensors of a layer's output that a chunk keeps, about: currents, potentials, outputs, derivatives, errors."""


def chunk_size(network: Network, rule: Rule, ticks: int, batch: int) -> int:
    """Return the ticks of a chunk for updates after the last tick: 100, or more where traces are dear.

    A trace that neurons share costs little from chunk to chunk. Where every weight has its own, (B, n_out, n_in), it
    takes longer than the ticks do, so that the chunk is then as long as about half a gigabyte allows. Directions are
    the same for any chunk, but for rounding.

    Args:
        network: the network that learns.
        rule: bound to the network.
        ticks: T.
        batch: B.
    """
    if ticks <= CHUNK or not own_traces_needed(network, rule):
        return CHUNK
    return max(CHUNK, memory_chunk(network, ticks, batch))


def memory_chunk(network: Network, ticks: int, batch: int) -> int:
    """Return the ticks of a chunk that :data:`MEMORY` holds, from 1 to all.

    Args:
        network: the network that computes.
        ticks: T.
        batch: B.
    """
    units = math.prod(network.input_shape) + TENSORS * sum(math.prod(shape) for shape in network.shapes.values())
    size = next(network.parameters()).element_size()
    return max(1, min(ticks, MEMORY // (units * batch * size)))


def whole_sequence(loss: Loss, ticks: int, chunk: int | None, update: str) -> int:
    """Return T as the size of the only chunk, for a loss whose errors are known after the last tick.

    Args:
        loss: of the whole sequence.
        ticks: T.
        chunk: as given; None: nothing was said.
        update: time of the weight change.

    Raises:
        NeurofaError: several chunks.
    """
    if update != "end" or (chunk is not None and chunk < ticks):
        raise NeurofaError(
            f"got loss {loss} with chunk={chunk}, update='{update}' for {ticks} ticks; expected one chunk, since its"
            " errors are known after the last tick; leave both out, or use loss per_tick"
        )
    return ticks


def own_traces_needed(network: Network, rule: Rule) -> bool:
    """Return whether some weights would carry a trace each from chunk to chunk.

    Args:
        network: the network that learns.
        rule: bound to the network.
    """
    kappa, declares = filter_decay(network, rule), rule.declares
    for name, layer in network.items():
        hidden = name != network.readout
        if (
            not isinstance(layer, Temporal)
            or layer.traces.name != "raw"
            or not (declares.sequences.remembers or not hidden)
        ):
            continue
        view = blank_view(layer, network.shapes[name], kappa if hidden else 0.0)
        own = declares.eligibility if hidden else None
        if layer.neuron.gates > 1:
            return True
        dynamics = dynamics_of(layer, view, None) if own is None else own.dynamics(name, layer, view)
        if view.filter_decay or not is_constant(dynamics):
            return True
    return False
