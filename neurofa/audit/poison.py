"""Poisoning: temporary overwriting of weights, wherever a rule could read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from neurofa.core.layer import Layer
from neurofa.core.randomness import generator
from neurofa.core.view import LocalView

Fill = Callable[[Tensor], Tensor]
"""Function from a tensor to the values that overwrite it, of the same shape and dtype."""


def nan(t: Tensor) -> Tensor:
    """Return the values that overwrite a tensor: NaN everywhere; integers and booleans are inverted bit by bit."""
    return torch.full_like(t, float("nan")) if t.is_floating_point() else ~t


def strange(t: Tensor) -> Tensor:
    """Return random finite numbers that overwrite a tensor; they detect a rule that replaces NaN."""
    if not t.is_floating_point():
        return ~t
    gen = generator(t.numel(), "poison", device=t.device)
    return torch.randn(t.shape, generator=gen, device=t.device, dtype=t.dtype)


def same_signs(t: Tensor) -> Tensor:
    """Return a tensor with its signs kept and its magnitudes multiplied by random factors between 1.5 and 2.5."""
    gen = generator(t.numel(), "magnitudes", device=t.device)
    return t * (1.5 + torch.rand(t.shape, generator=gen, device=t.device, dtype=t.dtype))


def weights_of(layer: Layer, view: LocalView) -> list[Tensor]:
    """Return every tensor that stores or aliases a layer's weights: parameters, cells, and the reads in its views.

    Args:
        layer: the layer.
        view: of the recorded tick.
    """
    tensors: list[Tensor] = []
    for key in layer.synapses:
        synapses = layer.synapses[key]
        tensors += [synapses.weight.data, *synapses.buffers()]
    for own in (view, view.second_pass):
        if own is not None:
            tensors += own.params.values()
            tensors += [leaf.data for leaf in own.graph.params.values()] if own.graph is not None else []
    return tensors


@contextmanager
def poisoned(tensors: Iterable[Tensor], fill: Fill) -> Iterator[None]:
    """Overwrite tensors in place, bypassing autograd's version counters, and restore them bit for bit at the end.

    Args:
        tensors: to be overwritten.
        fill: values that overwrite them.
    """
    kept = [(t, t.detach().clone()) for t in tensors]
    try:
        for t, value in kept:
            t.data.copy_(fill(value))
        yield
    finally:
        for t, value in kept:
            t.data.copy_(value)
