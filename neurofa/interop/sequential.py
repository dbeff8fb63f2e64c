"""Import of torch networks (``nn.Sequential``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.layers.block import Block
from neurofa.layers.carriers import AvgPool2d, Dropout, Flatten, MaxPool2d
from neurofa.layers.conv import Conv2d
from neurofa.layers.dense import Dense
from neurofa.maps.activations import Activation, from_module
from neurofa.maps.norms import BatchNorm, LayerNorm, Norm

Source = tuple[nn.Module, nn.Module | None] | None
"""Affine and normalisation module from which a layer takes its weights, or None."""


def from_sequential(
    model: nn.Sequential,
    input_shape: Sequence[int],
    *,
    device: Device | str = "digital",
    periphery: Periphery | str = "exact",
) -> Network:
    """Return the network of an ``nn.Sequential``, with copies of its weights.

    A linear or convolutional module forms one layer with the normalisation, activation and dropout that follow it.
    Pooling, flattening and dropout are layers without weights; every other module becomes a block.

    Args:
        model: modules in order.
        input_shape: shape of one sample.
        device: device that stores the affine weights, or its spec.
        periphery: converters and noise around the arrays of affine weights, or their spec.

    Raises:
        NeurofaError: the model is not an ``nn.Sequential``, or its last layer has no weights.
    """
    layers, sources = layers_of(model)
    network = Network(layers, input_shape, device=device, periphery=periphery)
    take_weights(network, sources)
    return network


def layers_of(model: nn.Sequential) -> tuple[list[Layer], list[Source]]:
    """Return the layers of a sequential model, and for each the modules from which it takes its weights.

    Args:
        model: modules in order; nested ones are flattened.

    Raises:
        NeurofaError: the model is not an ``nn.Sequential``.
    """
    if not isinstance(model, nn.Sequential):
        raise NeurofaError(
            f"got a {type(model).__name__}; expected an nn.Sequential; wrap other modules as neurofa.layers.Block"
        )
    modules = list(_flat(model))
    layers: list[Layer] = []
    sources: list[Source] = []
    at = 0
    while at < len(modules):
        head = modules[at]
        at += 1
        if plain_affine(head):
            # normalisation, activation and dropout belong to the layer if they follow in this order
            norm_module = modules[at] if at < len(modules) else None
            norm = _norm(norm_module)
            at += norm is not None
            activation = from_module(modules[at]) if at < len(modules) else None
            at += activation is not None
            dropout = _dropout(modules[at]) if at < len(modules) else None
            at += dropout is not None
            layers.append(_unit(head, norm, activation, dropout or 0.0))
            sources.append((head, norm_module if norm is not None else None))
        else:
            layers.append(parameter_free_layer(head) or Block(head))
            sources.append(None)
    return layers, sources


@torch.no_grad()
def take_weights(network: Network, sources: Sequence[Source]) -> None:
    """Program the weights of the source modules into the network's layers.

    Args:
        network: made of the layers of :func:`layers_of`.
        sources: as :func:`layers_of` returned them.
    """
    for (_, layer), source in zip(network.items(), sources, strict=True):
        if source is None:
            continue
        affine, norm = source
        for name, value in affine.named_parameters():
            layer.synapses[name].program(value)
        if norm is not None and isinstance(layer, Dense | Conv2d) and layer.norm is not None:
            for name, value in norm.named_parameters():
                layer.synapses[{"weight": "gain", "bias": "shift"}[name]].program(value)
            layer.norm.load_state_dict({k: v for k, v in norm.named_buffers() if k != "num_batches_tracked"})


def _flat(model: nn.Sequential) -> list[nn.Module]:
    modules: list[nn.Module] = []
    for module in model:
        modules.extend(_flat(module) if isinstance(module, nn.Sequential) else [module])
    return modules


def plain_affine(module: nn.Module) -> bool:
    """Return whether a module is an affine map that a dense or convolutional layer of this package can compute."""
    if isinstance(module, nn.Conv2d):
        square = all(len(set(pair)) == 1 for pair in (module.kernel_size, module.stride))
        padding = module.padding
        plain = module.padding_mode == "zeros" and isinstance(padding, tuple) and len(set(padding)) == 1
        return square and plain and module.dilation == (1, 1)
    return type(module) is nn.Linear


def _norm(module: nn.Module | None) -> Norm | None:
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.track_running_stats and module.momentum:
        return BatchNorm(affine=module.affine, eps=module.eps, momentum=module.momentum)
    if isinstance(module, nn.GroupNorm) and module.num_groups == 1:
        return LayerNorm(affine=module.affine, eps=module.eps)
    return None


def _dropout(module: nn.Module) -> float | None:
    return module.p if type(module) is nn.Dropout else None


def _unit(head: nn.Module, norm: Norm | None, activation: Activation | None, dropout: float) -> Layer:
    f = activation or "identity"
    if isinstance(head, nn.Linear):
        return Dense(
            head.in_features,
            head.out_features,
            activation=f,
            norm=norm,
            dropout=dropout,
            bias=head.bias is not None,
        )
    assert isinstance(head, nn.Conv2d) and isinstance(head.padding, tuple)
    return Conv2d(
        head.in_channels,
        head.out_channels,
        head.kernel_size[0],
        stride=head.stride[0],
        padding=head.padding[0],
        groups=head.groups,
        activation=f,
        norm=norm,
        dropout=dropout,
        bias=head.bias is not None,
    )


def parameter_free_layer(module: nn.Module) -> Layer | None:
    """Return the layer without weights that equals a module; None: there is none."""
    match module:
        case nn.MaxPool2d(kernel_size=int(size), stride=int(stride), padding=0, dilation=1, ceil_mode=False):
            return MaxPool2d(size, stride=stride)
        case nn.AvgPool2d(kernel_size=int(size), stride=int(stride), padding=0, ceil_mode=False):
            return AvgPool2d(size, stride=stride)
        case nn.Flatten(start_dim=1, end_dim=-1):
            return Flatten()
        case nn.Dropout(p=float(p)):
            return Dropout(p)
    return None
