"""Import of torch networks (``nn.Sequential``)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.interop.borrowed_model import kept
from neurofa.interop.comparison import compare_layers
from neurofa.interop.modules import Named, flat, passes_through, refuse_sharing, unchanged
from neurofa.interop.units import Unit, affine_layer, assemble, has_layer, parameter_free_layer
from neurofa.layers.block import Block
from neurofa.maps.wrapped import refuse_lazy


def from_sequential(
    model: nn.Sequential,
    input_shape: Sequence[int],
    *,
    device: Device | str = "digital",
    periphery: Periphery | str = "exact",
    seed: int = 0,
) -> Network:
    """Return the network of an ``nn.Sequential``, with copies of its weights.

    A linear or convolutional module forms one layer with the normalisation, activation and dropout that follow it.
    Pooling, flattening and dropout are layers without weights. Every other module becomes a block: subclasses, modules
    with hooks or a ``forward`` of their own, options without a counterpart. Weights that require no gradient stay
    frozen; modes (training or evaluation), dtype and place of the model are kept.

    Before the network is returned it is compared with the model on a drawn batch, layer by layer, in training and in
    evaluation mode: outputs, gradients of weights and inputs, running statistics. The model's forward is called for
    that; its weights, statistics and modes stay.

    Args:
        model: modules in order.
        input_shape: shape of one sample.
        device: device that stores the affine weights, or its spec.
        periphery: converters and noise around the arrays of affine weights, or their spec.
        seed: of the noise with which a device is programmed.

    Raises:
        NeurofaError: the model is not an ``nn.Sequential``, or has a forward or hooks of its own; two modules share a
            weight; the last layer has no weights; a layer would differ from its modules (they are named).
    """
    modules = _modules_of(model)
    with kept(model):
        compare_layers(model, assemble(units_of(modules), input_shape, seed=seed), units_of(modules))
    return assemble(units_of(modules), input_shape, device=device, periphery=periphery, seed=seed)


def _modules_of(model: nn.Module) -> list[Named]:
    """Return the modules of a model in the order of their calls.

    Raises:
        NeurofaError: the model calls them in another way, or some share a weight.
    """
    kind = type(model).__name__
    if not isinstance(model, nn.Sequential):
        raise NeurofaError(f"got a {kind}; expected an nn.Sequential; use from_module for any other module")
    if not passes_through(model):
        raise NeurofaError(
            f"got a {kind} with a forward, hooks or weights of its own; expected an nn.Sequential that calls its"
            " modules in turn; wrap it as one neurofa.layers.Block, or put it into another nn.Sequential"
        )
    refuse_lazy(model)
    modules = list(flat(model))
    refuse_sharing(modules)
    return modules


def units_of(modules: Sequence[Named]) -> list[Unit]:
    """Return the layers of consecutive modules, each with the modules that it stands for.

    Args:
        modules: in the order of their calls.
    """
    units: list[Unit] = []
    rest = list(modules)
    while rest:
        head = rest[0][1]
        if unchanged(head) and has_layer(head):
            layer, used = affine_layer([module for _, module in rest])
        else:
            free = parameter_free_layer(head) if unchanged(head) else None
            layer, used = free or Block(head), 1
        units.append(Unit(layer, tuple(rest[:used])))
        del rest[:used]
    return units
