"""The evaluation pass of a network on arrays as one compiled graph: no layer stores what the next one can take over."""

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

# Beside the networks, because a copy of a network must not run the layers of the original; with the periphery that was
# compiled, because another one needs another graph.
_KERNELS: WeakKeyDictionary[Network, tuple[str, Kernel]] = WeakKeyDictionary()


def whole_pass(layers: Sequence[Layer], x: Tensor, params: Sequence[Params], keys: Tensor | None) -> Tensor:
    """All layers in turn, in evaluation; eager, it is the oracle of the compiled pass.

    Args:
        layers: from input to readout.
        x: (B, *input_shape).
        params: weights of every layer as this pass read them.
        keys: (layers, 2) int32, the key of every layer's noise (:class:`hwmodels.numerics.random.Key`); None:
        nothing is noisy.

    Returns:
        (B, o).
    """
    for i, (layer, own) in enumerate(zip(layers, params, strict=True)):
        x = layer.compute(own, x, {} if keys is None else {KEY: keys[i]})[0]
    return x


def draw_keys(layers: Sequence[Layer], gen: torch.Generator | None) -> Tensor | None:
    """Keys for :func:`whole_pass`; None where no array is noisy.

    Raises:
        NeurofaError: an array is noisy and there is no generator.
    """
    hosts = [layer.traits.array_host for layer in layers]
    noisy = any(host is not None and host.periphery is not None and host.periphery.noisy for host in hosts)
    return draw_key(require_generator(gen), len(layers)) if noisy else None


def compiled_pass(network: Network, x: Tensor, gen: torch.Generator | None) -> Tensor:
    """:func:`whole_pass` of a network, compiled when it is first called and again for new shapes.

    Args:
        network: in evaluation.
        x: (B, *input_shape).
        gen: source of read noise and of the noise of arrays.

    Returns:
        (B, o).

    Raises:
        NeurofaError: there is no C++ compiler, a layer cannot be compiled, or noise has no generator.
    """
    layers = tuple(layer for _, layer in network.items())
    # cells are read and keys are drawn outside: a generator has no place in a graph
    params = [layer.synapses.read(gen) for layer in layers]
    keys = draw_keys(layers, gen)
    if _KERNELS.get(network, ("", None))[0] != network.periphery_spec:

        def run(x: Tensor, params: Sequence[Params], keys: Tensor | None) -> Tensor:
            return whole_pass(layers, x, params, keys)

        _KERNELS[network] = network.periphery_spec, compile_whole(run, "an evaluation pass", "layers")
    return _KERNELS[network][1](x, params, keys)


def compile_evaluation(network: Network, on: bool = True) -> None:
    """Let evaluation passes of a network on arrays run as one compiled graph, which is the fastest.

    Compiling takes seconds to minutes for each network and batch size, which pays where many batches are evaluated.

    Args:
        network: its products on arrays are compiled as well (:meth:`~neurofa.core.network.Network.fuse`).
        on: False goes back to single products.
    """
    network.fuse(on)
    network.evaluation_pass = compiled_pass if on else None
