"""Conversion of snnTorch models to chains of layers and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer, ParameterFreeLayer
from neurofa.core.network import Network
from neurofa.core.programming import warn_of_clipping
from neurofa.core.randomness import generator
from neurofa.interop.modules import Named, refuse_sharing
from neurofa.interop.snntorch_neurons import fires, library, module_of, neuron_of, recurrence_of
from neurofa.interop.units import affine_layer, parameter_free_layer, plain_affine
from neurofa.layers.carriers import AvgPool2d, Flatten, MaxPool2d
from neurofa.layers.dense import Dense
from neurofa.layers.spiking import Spiking
from neurofa.layers.spiking_conv import SpikingConv2d
from neurofa.maps.affine import Affine
from neurofa.spiking.temporal import Temporal

READOUTS = ("spikes", "membrane")


class Part(NamedTuple):
    """One layer of this package with the modules of a snnTorch model from which it was made."""

    layer: Layer
    affine: Any = None
    """Linear or convolutional module; None: the layer has no weights."""
    neuron: Any = None
    """Module of the neurons; None: there are none."""
    name: str = ""
    """Name of the neuron, or else of the affine module."""


def parts_of(model: nn.Module, readout: str) -> list[Part]:
    """Return the layers of a snnTorch model with their source modules.

    An affine module forms one layer with the neuron that follows it, and with a pooling in between.

    Args:
        model: an ``nn.Sequential``, or any module, whose children are used in the order of their definition.
        readout: ``spikes`` or ``membrane``.
    """
    library()
    if readout not in READOUTS:
        raise NeurofaError(f"got readout='{readout}'; expected {' or '.join(READOUTS)}; choose one")
    ordered = isinstance(model, nn.Sequential)
    modules = list(_flat(model))
    if not any(fires(module) for _, module in modules):
        raise NeurofaError(
            f"got a {type(model).__name__} without neurons of snnTorch; expected some; use from_sequential for others"
        )
    refuse_sharing([(name, module) for name, module in modules if not fires(module)])
    parts: list[Part] = []
    while modules:
        name, head = modules.pop(0)
        if isinstance(head, nn.Linear | nn.Conv2d):
            if isinstance(head, nn.Linear) and not ordered and _image(parts):
                parts.append(Part(Flatten()))  # a class flattens inside its forward, not by a module
            parts.append(_unit(name, head, modules, readout, ordered))
        elif (layer := parameter_free_layer(head)) is not None:
            parts.append(Part(layer))
        else:
            raise NeurofaError(
                f"got a {type(head).__name__} at '{name}'; expected neurons of snnTorch behind an nn.Linear, or behind"
                " an nn.Conv2d or its pooling, and pooling, nn.Flatten and nn.Dropout; change the network"
            )
    return parts


def _unit(name: str, head: nn.Module, rest: list[Named], readout: str, ordered: bool) -> Part:
    """Return the layer of an affine module with its pooling and neuron, which are removed from ``rest``."""
    if not plain_affine(head) or (isinstance(head, nn.Conv2d) and head.groups > 1):
        raise NeurofaError(
            f"got {head} at '{name}'; expected a square kernel, stride and padding of zeros, without dilation or"
            " groups; change the convolution"
        )
    pool = None
    if isinstance(head, nn.Conv2d) and len(rest) > 1 and fires(rest[1][1]):
        pool = parameter_free_layer(rest[0][1])
        if isinstance(pool, AvgPool2d | MaxPool2d):
            rest.pop(0)
    if not rest:
        return Part(affine_layer([head])[0], head, None, name)
    where, neuron = rest.pop(0)
    if not fires(neuron):
        raise NeurofaError(
            f"got a {type(neuron).__name__} behind '{name}'; expected a neuron of snnTorch; put it directly behind"
            " the weights (pooling may stand between a convolution and its neurons)"
        )
    last = not rest
    ours = neuron_of(neuron, where, membrane=last and readout == "membrane")
    if ordered and not last and (not neuron.init_hidden or neuron.output):
        raise NeurofaError(
            f"got a {type(neuron).__name__} at '{where}' that returns its states inside an nn.Sequential; expected"
            " init_hidden=True, and output=True at the end alone; change it"
        )
    recurrent = type(neuron).__name__ == "RLeaky"
    if isinstance(head, nn.Linear):
        bias = head.bias is not None or recurrent
        layer: Layer = Spiking(head.in_features, head.out_features, neuron=ours, recurrent=recurrent, bias=bias)
        return Part(layer, head, neuron, where)
    assert isinstance(head, nn.Conv2d) and isinstance(head.padding, tuple)
    if recurrent:
        raise NeurofaError(
            f"got an RLeaky behind a convolution at '{where}'; expected one behind an nn.Linear; use Leaky there"
        )
    conv = SpikingConv2d(
        head.in_channels,
        head.out_channels,
        head.kernel_size[0],
        stride=head.stride[0],
        padding=int(head.padding[0]),
        pool=pool,
        neuron=ours,
        bias=head.bias is not None,
    )
    return Part(conv, head, neuron, where)


@torch.no_grad()
def take_weights(network: Network, parts: Sequence[Part], seed: int) -> None:
    """Program the weights of the modules into a network's layers; the bias of a recurrence is added to the layer's.

    Args:
        network: made of the layers of ``parts``.
        parts: layers with their source modules.
        seed: of the noise with which a device is programmed.
    """
    gen, shares = generator(seed, "pretrained"), {}
    for (name, layer), part in zip(network.items(), parts, strict=True):
        if part.affine is None:
            continue
        layer.synapses["weight"].program(part.affine.weight, gen)
        shares[f"'weight' of layer '{name}'"] = layer.synapses["weight"].clips(part.affine.weight)
        for key, own in part.affine.named_parameters():
            layer.synapses[key].weight.requires_grad_(own.requires_grad)
        bias = part.affine.bias
        recurrence = None if part.neuron is None else recurrence_of(part.neuron, len(part.affine.weight), part.name)
        if recurrence is not None:
            layer.synapses["recurrent"].program(recurrence[0], gen)
            shares[f"'recurrent' of layer '{name}'"] = layer.synapses["recurrent"].clips(recurrence[0])
            bias = recurrence[1] if bias is None else bias + recurrence[1]
        if bias is not None:
            layer.synapses["bias"].program(bias, gen)
    warn_of_clipping(shares, network.device_spec)


def sequential_of(network: Network) -> nn.Sequential:
    """Return the snnTorch model of a network, as :func:`neurofa.interop.snntorch.to_snntorch` does."""
    library()
    modules: list[nn.Module] = []
    for name, layer in network.items():
        last = name == network.readout
        if isinstance(layer, Temporal):
            modules += _modules(name, layer, last=last)
        elif isinstance(layer, ParameterFreeLayer) or (last and isinstance(layer, Dense)):
            modules.append(layer.module())
        else:
            raise NeurofaError(
                f"got a {layer.name} at layer '{name}' for snnTorch; expected spiking layers, with pooling and"
                " flattening in between; use network.module() for others"
            )
    return nn.Sequential(*modules).train(network.training)


def _modules(name: str, layer: Temporal, *, last: bool) -> list[nn.Module]:
    stored = layer.synapses.stored()
    plain = layer.map.module(stored["weight"], stored.get("bias"))
    pool = [layer.pool.module()] if isinstance(layer, SpikingConv2d) and layer.pool is not None else []
    among = stored.get("recurrent")
    return [plain, *pool, module_of(layer.neuron, layer.map.channels, name, recurrent=among, output=last)]


def _flat(model: nn.Module, prefix: str = "") -> Iterator[Named]:
    for name, module in model.named_children():
        if isinstance(module, nn.Sequential):
            yield from _flat(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module


def _image(parts: Sequence[Part]) -> bool:
    """Return whether the output of the parts is an image."""
    shaped = [p.layer for p in parts if isinstance(p.layer, Flatten) or p.affine is not None]
    return bool(shaped) and isinstance(shaped[-1], Affine) and shaped[-1].map.input_dims == 4
