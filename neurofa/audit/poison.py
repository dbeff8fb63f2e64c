"""Overwriting weights for a while, wherever a rule could reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from neurofa.core.layer import Layer
from neurofa.core.randomness import generator
from neurofa.core.view import LocalView

Fill = Callable[[Tensor], Tensor]
"""What a tensor is overwritten with; same shape and dtype."""


def nan(t: Tensor) -> Tensor:
    """NaN everywhere; whole numbers and truth values are inverted bit by bit."""
    return torch.full_like(t, float("nan")) if t.is_floating_point() else ~t


def strange(t: Tensor) -> Tensor:
    """Other finite numbers: what a rule that clears NaN away cannot swallow."""
    if not t.is_floating_point():
        return ~t
    gen = generator(t.numel(), "poison", device=t.device)
    return torch.randn(t.shape, generator=gen, device=t.device, dtype=t.dtype)


def same_signs(t: Tensor) -> Tensor:
    """Other magnitudes between 1.5 and 2.5 of the old ones, signs kept."""
    gen = generator(t.numel(), "magnitudes", device=t.device)
    return t * (1.5 + torch.rand(t.shape, generator=gen, device=t.device, dtype=t.dtype))


def weights_of(layer: Layer, view: LocalView) -> list[Tensor]:
    """Every tensor that holds or aliases a layer's weights: parameters, device cells, and the reads in its views."""
    found: list[Tensor] = []
    for key in layer.synapses:
        synapses = layer.synapses[key]
        found += [synapses.weight.data, *synapses.buffers()]
    for seen in (view, view.second_pass):
        if seen is not None:
            found += seen.params.values()
            found += [leaf.data for leaf in seen.graph.params.values()] if seen.graph is not None else []
    return found


@contextmanager
def poisoned(tensors: Iterable[Tensor], fill: Fill) -> Iterator[None]:
    """Overwrite tensors in place, past autograd's version counters, and put them back bit for bit at the end."""
    kept = [(t, t.detach().clone()) for t in tensors]
    try:
        for t, value in kept:
            t.data.copy_(fill(value))
        yield
    finally:
        for t, value in kept:
            t.data.copy_(value)
