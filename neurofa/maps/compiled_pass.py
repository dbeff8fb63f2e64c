"""Evaluation pass of a network on arrays as one compiled graph, without intermediate results in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hwmodels.numerics.compiled import compile_whole, draw_key
from hwmodels.numerics.random import require_generator
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.view import Params
from neurofa.maps.analog import KEY

Kernel = Callable[[Tensor, Sequence[Params], Tensor | None], Tensor]

# Not in the network, because a copy of a network must not run the layers of the original. With the spec of the compiled
# periphery, because another periphery needs another graph.
_KERNELS: WeakKeyDictionary[Network, tuple[str, Kernel]] = WeakKeyDictionary()


def whole_pass(layers: Sequence[Layer], x: Tensor, params: Sequence[Params], keys: Tensor | None) -> Tensor:
    """Return the output of all layers in evaluation mode: the function that :func:`compiled_pass` compiles.

    Args:
        layers: from input to readout.
        x: (B, *input_shape).
        params: weights of every layer as read in this pass.
        keys: (layers, 2) int32, key of every layer's noise (:class:`hwmodels.numerics.random.Key`); None: no noise.

    Returns:
        (B, o).
    """
    for i, (layer, own) in enumerate(zip(layers, params, strict=True)):
        x = layer.compute(own, x, {} if keys is None else {KEY: keys[i]})[0]
    return x


def draw_keys(layers: Sequence[Layer], gen: torch.Generator | None) -> Tensor | None:
    """Return the keys for :func:`whole_pass`, (layers, 2) int32; None if no array is noisy.

    Args:
        layers: from input to readout.
        gen: source of the keys.

    Raises:
        NeurofaError: an array is noisy and there is no generator.
    """
    hosts = [layer.traits.array_host for layer in layers]
    noisy = any(host is not None and host.periphery is not None and host.periphery.noisy for host in hosts)
    return draw_key(require_generator(gen), len(layers)) if noisy else None


def compiled_pass(network: Network, x: Tensor, gen: torch.Generator | None) -> Tensor:
    """Return the output of a network in evaluation by one graph, compiled at the first call and for new shapes.

    Args:
        network: in evaluation mode.
        x: (B, *input_shape).
        gen: source of read noise and of the noise of arrays.

    Returns:
        (B, o).

    Raises:
        NeurofaError: there is no C++ compiler, a layer cannot be compiled, or there is noise but no generator.
    """
    layers = tuple(layer for _, layer in network.items())
    # cells are read and keys are drawn outside the graph, which cannot contain a generator
    params = [layer.synapses.read(gen) for layer in layers]
    keys = draw_keys(layers, gen)
    if _KERNELS.get(network, ("", None))[0] != network.periphery_spec:

        def run(x: Tensor, params: Sequence[Params], keys: Tensor | None) -> Tensor:
            return whole_pass(layers, x, params, keys)

        _KERNELS[network] = network.periphery_spec, compile_whole(run, "an evaluation pass", "layers")
    return _KERNELS[network][1](x, params, keys)


def compile_evaluation(network: Network, on: bool = True) -> None:
    """Run evaluation passes of a network on arrays as one compiled graph, the fastest execution.

    Compilation takes seconds to minutes for each network and batch size; it is worthwhile for many batches.

    Args:
        network: its products on arrays are compiled as well (:meth:`~neurofa.core.network.Network.fuse`).
        on: False restores eager execution.
    """
    network.fuse(on)
    network.evaluation_pass = compiled_pass if on else None
