"""Matrix products of a layer on analog arrays: converters and noise around the weights read in a pass."""

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
"""Function that returns the product (N, n_out) of vectors (N, n_in) and a matrix (n_in, n_out)."""

SEED = "noise"
"""Name of the noise seed in a layer's state before the tick: 0-dim, int64, always on the CPU."""

KEY = "key"
"""Name of its replacement in a pass that is one graph: words of :class:`hwmodels.numerics.random.Key`, (2,), int32."""


class Arrays:
    """Matrix products of one layer on the analog arrays that store its weights, with converters and noise.

    Weights are passed to the periphery in units of the largest weight of the layer as read. Everything else (biases,
    normalisation, activation, the layer's own derivative) is digital.

    The noise of a tick follows from a seed in the state before the tick, so that a pass can be repeated. Errors that
    return through the weights (chained rules) pass the same converters, with independent noise and two differences:
    bound management is used in the forward pass only (as in aihwkit), and a fixed full scale is replaced by that of
    each vector, since errors have no fixed range.

    Args:
        periphery: converters and noise of the forward pass.
        fused: whether products are compiled (:mod:`hwmodels.arrays.compiled_product`), which changes the drawn noise.
    """

    def __init__(self, periphery: Periphery, *, fused: bool = False) -> None:
        self.forward_io, self.fused = periphery, fused
        scale = "sample" if periphery.full_scale == "none" else periphery.full_scale
        self.return_io = replace(periphery, bound_management=False, full_scale=scale)

    def start(self, gen: torch.Generator | None) -> State:
        """Return the state of a new tick: the seed of its noise; empty for arrays without noise or without a generator.

        Args:
            gen: source of the seed.
        """
        if gen is None or not self.forward_io.noisy:
            return {}
        return {SEED: torch.tensor(fork_seed(gen))}

    def forward(self, weight: Tensor, state: State) -> Product:
        """Return the function that multiplies vectors by weights on the arrays, in the forward pass.

        Args:
            weight: all weights of the layer as read in this pass, any shape; the periphery receives weights divided by
                the largest of their magnitudes.
            state: of the layer before the tick, with the seed of the noise (:meth:`start`).

        Returns:
            A function from vectors (N, n_in) and a matrix (n_in, n_out) of the layer to their product (N, n_out), with
            converters and noise. It raises a NeurofaError if the arrays are noisy and ``state`` has no seed.
        """
        if KEY in state:
            return _eager(self.forward_io, weight, Key(state[KEY]))
        return through(self.forward_io, weight, _noise(state, "forward", weight.device), fused=self.fused)

    def back(self, weight: Tensor, state: State) -> Product:
        """Return the function that multiplies errors by return weights on the arrays (see :meth:`forward`).

        Args:
            weight: all return weights of the layer as read in this pass, any shape.
            state: of the layer before the tick, with the seed of the noise.
        """
        return through(self.return_io, weight, _noise(state, "return", weight.device), fused=self.fused)


def through(periphery: Periphery, weight: Tensor, gen: torch.Generator | None, *, fused: bool = False) -> Product:
    """Return the function that multiplies vectors (N, n_in) by a matrix (n_in, n_out) through one periphery.

    Args:
        periphery: converters and noise.
        weight: all weights, any shape; the periphery receives weights divided by the largest of their magnitudes.
        gen: source of the noise, on the device of ``weight``.
        fused: whether the product is compiled, unless it is part of a compiled graph already.
    """
    if not fused or torch.compiler.is_compiling():  # a graph in compilation includes the eager product
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
