"""The matrix products of one training step and nothing else: a lower bound for every implementation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from experiments.speed.timing import Step
from neurofa.core.randomness import generator

aten = torch.ops.aten
TINY = -1e-9
"""Rate of the updates: weights must be written, not changed, since values that overflow are slower than real ones."""


def dense_floor(widths: Sequence[int], batch: int, *, direct: bool, device: torch.device) -> Step:
    """Return the products of a fully connected net: forward, feedback or transport, update.

    Args:
        widths: widths of all layers, from input to readout.
        batch: samples B.
        direct: one product (B, o) @ (o, sum of hidden widths) brings the error to all hidden layers; else every layer
            returns (B, n_out) @ (n_out, n_in) to the one below.
        device: where they run.

    Returns:
        One step's products, into tensors that exist already.
    """
    gen = generator(0, "floor", device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=gen, device=device)

    h, delta = [normal(batch, n) for n in widths], [normal(batch, n) for n in widths]
    maps = list(pairwise(widths))
    weight, bias = [normal(o, i) for i, o in maps], [normal(o) for _, o in maps]
    feedback = normal(widths[-1], sum(widths[1:-1])) if direct else normal(0)
    delivered = normal(batch, feedback.shape[-1]) if direct else normal(0)
    outputs = [normal(batch, o) for _, o in maps]

    def products() -> None:
        for k, w in enumerate(weight):
            torch.addmm(bias[k], h[k], w.t(), out=outputs[k])
        if direct:
            torch.mm(delta[-1], feedback, out=delivered)
        for k in reversed(range(len(maps))):
            if not direct and k:
                torch.mm(delta[k + 1], weight[k], out=outputs[k - 1])
            weight[k].addmm_(delta[k + 1].t(), h[k], alpha=TINY)

    return products


def conv_floor(
    maps: Sequence[tuple[int, int, int]], readout: tuple[int, int], batch: int, *, direct: bool, device: torch.device
) -> Step:
    """Return the convolutions of a net of 3x3 kernels and its readout: forward, feedback or transport, update.

    Args:
        maps: input channels, output channels and side of the image of every convolution.
        readout: inputs and outputs of the last, dense layer.
        batch: samples B.
        direct: as in :func:`dense_floor`.
        device: where they run.

    Returns:
        One step's convolutions with the channel innermost, the faster order.
    """
    gen = generator(0, "floor", device=device)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=gen, device=device)
        return values.to(memory_format=torch.channels_last) if len(shape) == 4 else values

    x, delta = [normal(batch, i, s, s) for i, _, s in maps], [normal(batch, o, s, s) for _, o, s in maps]
    weight, bias = [normal(o, i, 3, 3) for i, o, _ in maps], [normal(o) for _, o, _ in maps]
    readout_products = dense_floor(readout, batch, direct=False, device=device)
    error = normal(batch, readout[1])
    feedback = [normal(readout[1], o * s * s) for _, o, s in maps] if direct else []
    ones, none = [1, 1], [0, 0]

    def products() -> None:
        for k, w in enumerate(weight):
            torch.conv2d(x[k], w, bias[k], padding=1)
        readout_products()
        for b in feedback:  # each signal is dropped before the next: together they would not fit the cache
            torch.mm(error, b)
        for k, w in enumerate(weight):
            wanted = [not direct and k > 0, True, False]
            gradients = aten.convolution_backward(delta[k], x[k], w, None, ones, ones, ones, False, none, 1, wanted)
            w.add_(gradients[1], alpha=TINY)

    return products
