"""A layer's matrix products on analog arrays: converters and noise around the weights that a pass reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from hwmodels.arrays.compiled_product import compiled_product
from hwmodels.arrays.periphery import Periphery
from hwmodels.arrays.product import analog_product
from hwmodels.numerics.compiled import draw_key
from hwmodels.numerics.random import Key, RandomSource, require_generator
from neurofa.core.randomness import fork_seed, generator
from neurofa.core.view import State

Product = Callable[[Tensor, Tensor], Tensor]
"""Vectors (N, n_in) times a matrix (n_in, n_out), in the units of both."""

SEED = "noise"
"""Key of the seed in a layer's state before the tick: 0-dim, int64, on the CPU wherever the tick runs."""

KEY = "key"
"""In its place, in a pass that is one graph: the words of a :class:`hwmodels.numerics.random.Key`, (2,), int32."""


class Arrays:
    """The analog arrays that hold one layer's weights.

    Weights enter the periphery in units of the largest weight of the layer that this pass has read. Everything else
    (biases, normalisation, activation, the layer's own derivative) is digital.

    The noise of a tick follows from a seed in the state before the tick, so that a pass can be repeated. Errors that
    return through the weights (chained rules) pass the same converters backwards, with noise of their own. Two things
    differ there: bound management serves the forward pass alone (as in aihwkit), and inputs at a fixed full scale take
    that of every vector instead, since errors have no range of their own.

    Args:
        periphery: of the forward pass.
        fused: compile products (:mod:`hwmodels.arrays.compiled_product`); the numbers that noise draws are then others.
    """

    def __init__(self, periphery: Periphery, *, fused: bool = False) -> None:
        self.forward_io, self.fused = periphery, fused
        scale = "sample" if periphery.full_scale == "none" else periphery.full_scale
        self.return_io = replace(periphery, bound_management=False, full_scale=scale)

    def start(self, gen: torch.Generator | None) -> State:
        """The seed of a tick's noise; none for arrays without noise, and none without a generator."""
        if gen is None or not self.forward_io.noisy:
            return {}
        return {SEED: torch.tensor(fork_seed(gen))}

    def forward(self, weight: Tensor, state: State) -> Product:
        """Products of the forward pass.

        Args:
            weight: all weights of the layer as read, any shape; the largest one is the unit.
            state: before the tick.

        Returns:
            A function; it raises a NeurofaError where there is noise but no seed in ``state``.
        """
        if KEY in state:
            return _eager(self.forward_io, weight, Key(state[KEY]))
        return through(self.forward_io, weight, _noise(state, "forward", weight.device), fused=self.fused)

    def back(self, weight: Tensor, state: State) -> Product:
        """Products of the return path, with the return weights in the place of ``weight`` of :meth:`forward`."""
        return through(self.return_io, weight, _noise(state, "return", weight.device), fused=self.fused)


def through(periphery: Periphery, weight: Tensor, gen: torch.Generator | None, *, fused: bool = False) -> Product:
    """Products through one periphery.

    Args:
        periphery: converters and noise.
        weight: all weights, any shape; the largest one is the unit.
        gen: source of the noise, on the device of ``weight``.
        fused: compile the products, where they are not compiled already.
    """
    if not fused or torch.compiler.is_compiling():  # a graph that is being made takes the product in as it is
        return _eager(periphery, weight, gen)
    largest, kernel = _largest(weight), compiled_product(periphery)
    return lambda x, w: kernel(x, w, largest, draw_key(require_generator(gen)) if periphery.noisy else None)


def _eager(periphery: Periphery, weight: Tensor, source: RandomSource | None) -> Product:
    largest = _largest(weight)
    return lambda x, w: analog_product(periphery, x, w, source, unit=largest)


def _largest(weight: Tensor) -> Tensor:
    low, high = weight.aminmax()
    return torch.maximum(high, -low)


def _noise(state: State, way: str, device: torch.device) -> torch.Generator | None:
    return generator(int(state[SEED]), way, device=device) if SEED in state else None
