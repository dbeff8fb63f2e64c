"""Layers that stand for torch modules, the transfer of weights, statistics and modes, and the network of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from neurofa.core.layer import Layer
from neurofa.core.network import Network
from neurofa.core.programming import ClippedWeights, warn_of_clipping
from neurofa.core.randomness import generator
from neurofa.interop.modules import Named, Numbers, numbers_of, unchanged
from neurofa.layers.block import Block
from neurofa.layers.carriers import AvgPool2d, Dropout, Flatten, MaxPool2d
from neurofa.layers.conv import Conv1d, Conv2d, Conv3d
from neurofa.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from neurofa.layers.dense import Dense
from neurofa.maps.activations import from_module
from neurofa.maps.affine import Affine
from neurofa.maps.norms import BatchNorm, GroupNorm, LayerNorm, Norm, RMSNorm
from neurofa.maps.wrapped import independent_copy

LAYERS: dict[type[nn.Module], Callable[..., Affine]] = {
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
    nn.ConvTranspose1d: ConvTranspose1d,
    nn.ConvTranspose2d: ConvTranspose2d,
    nn.ConvTranspose3d: ConvTranspose3d,
}
"""Layers by the convolution of torch that they are."""


class Unit(NamedTuple):
    """One layer, and the modules of the model that it stands for."""

    layer: Layer
    modules: tuple[Named, ...]
    vocabulary: int | None = None
    """Number of tokens whose ids enter; None: numbers do."""
    evaluating: tuple[str, ...] = ()
    """Parts that stay in evaluation mode whatever the mode of the network."""

    @property
    def title(self) -> str:
        """The modules by name, for messages."""
        return ", ".join(f"'{name}' ({type(module).__name__})" for name, module in self.modules)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Return the names of the layer's weights with the parameters of the modules."""
        head = self.modules[0][1]
        yield from head.named_parameters()
        for name, value in self.modules[1][1].named_parameters() if self._norm is not None else ():
            yield {"weight": "gain", "bias": "shift"}[name], value

    def statistics(self, layer: Layer) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Return running statistics: their name, the layer's and the module's.

        Args:
            layer: this unit's layer, or one of the same modules.
        """
        head = self.modules[0][1]
        if isinstance(layer, Block):
            own = layer.wrapped_buffers()
            yield from ((key, own[key], value) for key, value in head.named_buffers())
        elif self._norm is not None and isinstance(layer, Affine) and layer.norm is not None:
            theirs = dict(self._norm.named_buffers())
            yield from ((key, value, theirs[key]) for key, value in layer.norm.named_buffers())

    def rebuilt(self, modules: Sequence[nn.Module]) -> Layer:
        """Return a new layer of copies of this unit's modules.

        Args:
            modules: the copies, in order.
        """
        if isinstance(self.layer, Block):
            return Block(modules[0], vocabulary=self.vocabulary, evaluating=self.evaluating)
        free = parameter_free_layer(modules[0])
        return affine_layer(modules)[0] if free is None else free

    @property
    def _norm(self) -> nn.Module | None:
        has = isinstance(self.layer, Affine) and self.layer.norm is not None
        return self.modules[1][1] if has else None

    @torch.no_grad()
    def take_weights(self, layer: Layer, gen: torch.Generator) -> None:
        """Program the modules' weights into a layer of the same modules, with what is frozen; copy the statistics.

        Args:
            layer: on the CPU.
            gen: source of the noise of programming.
        """
        for name, value in self.weights():
            # new synapses, not new values: the range of a device follows the weights that it is first programmed with
            place = layer.synapses[name]
            layer.synapses.add(name, value.detach().to(place.weight), place.device, gen)
            layer.synapses[name].weight.requires_grad_(value.requires_grad)
        for _, ours, theirs in self.statistics(layer):
            ours.copy_(theirs)

    def set_mode(self, *, training: bool) -> None:
        """Set the modules into a mode, except the parts that stay in evaluation mode."""
        for _, module in self.modules:
            module.train(training)
        for name in self.evaluating:
            self.modules[0][1].get_submodule(name).training = False

    def take_modes(self, layer: Layer) -> None:
        """Set a layer of the same modules into their modes."""
        layer.training = self.modules[0][1].training
        if isinstance(layer, Block):
            modes = [part.training for part in self.modules[0][1].modules()]
            for part, mode in zip(layer.wrapped_modules(), modes, strict=True):
                part.training = mode
        elif self._norm is not None and isinstance(layer, Affine) and layer.norm is not None:
            layer.norm.training = self._norm.training
        if isinstance(layer, Affine) and layer.dropout:
            layer.training = self.modules[-1][1].training


def assemble(
    units: Sequence[Unit],
    input_shape: Sequence[int],
    *,
    device: Device | str = "digital",
    periphery: Periphery | str = "exact",
    seed: int = 0,
    numbers: Numbers | None = None,
) -> Network:
    """Return the network of units, with the weights, frozen weights, modes, dtype and place of their modules.

    Args:
        units: in the order of their calls; their own layers are not used.
        input_shape: shape of one sample.
        device: device that stores the affine weights, or its spec.
        periphery: converters and noise around the arrays of affine weights, or their spec.
        seed: of the noise with which a device is programmed.
        numbers: dtype and place of the network; None: those of the modules' tensors.
    """
    numbers = numbers or numbers_of([module for unit in units for _, module in unit.modules])
    # devices are programmed on the CPU, where their source of noise is
    layers = [
        unit.rebuilt([independent_copy(module).to("cpu", torch.float32) for _, module in unit.modules])
        for unit in units
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippedWeights)  # of the drawn weights, and of blocks; said once below
        network = Network(layers, input_shape, device=device, periphery=periphery, seed=seed).to(numbers.dtype)
    gen = generator(seed, "pretrained")
    shares: dict[str, tuple[float, float]] = {}
    for (name, layer), unit in zip(network.items(), units, strict=True):
        unit.take_weights(layer, gen)
        unit.take_modes(layer)
        shares |= {f"'{key}' of layer '{name}'": part.clipped for key, part in layer.synapses.items()}
    network.first = (network.layer(network.lowest).synapses.values()[0],)
    warn_of_clipping(shares, network.device_spec)
    network.training = any(part.training for unit in units for _, module in unit.modules for part in module.modules())
    return network.to(numbers.device)


def plain_affine(module: nn.Module) -> bool:
    """Return whether a module is linear, or a convolution of square kernels, undilated and padded by zeros."""
    if type(module) is nn.Conv2d:
        square = all(len(set(pair)) == 1 for pair in (module.kernel_size, module.stride))
        padding = module.padding
        plain = module.padding_mode == "zeros" and isinstance(padding, tuple) and len(set(padding)) == 1
        return square and plain and module.dilation == (1, 1)
    return type(module) is nn.Linear


def has_layer(module: nn.Module) -> bool:
    """Return whether a module is an affine map for which there is a layer: linear, or a convolution padded by zeros."""
    if type(module) in LAYERS:
        assert isinstance(module, _ConvNd)
        return module.padding_mode == "zeros" and isinstance(module.padding, tuple)
    return type(module) is nn.Linear


def affine_layer(modules: Sequence[nn.Module]) -> tuple[Layer, int]:
    """Return the layer that begins with an affine map, and the number of modules that it stands for.

    Args:
        modules: the map, and everything behind it.
    """
    head, behind = modules[0], [m if unchanged(m) else None for m in modules[1:4]]
    used = 1

    def following() -> nn.Module | None:
        return behind[used - 1] if used <= len(behind) else None

    norm = _norm(head, following())
    used += norm is not None
    module = following()
    activation = None if module is None else from_module(module)
    used += activation is not None
    dropout = _dropout(following())
    used += dropout is not None
    options: dict[str, Any] = {"activation": activation or "identity", "norm": norm, "dropout": dropout or 0.0}
    bias = head.bias is not None
    if isinstance(head, nn.Linear):
        return Dense(head.in_features, head.out_features, bias=bias, **options), used
    assert isinstance(head, _ConvNd) and isinstance(head.padding, tuple)
    sizes = {"stride": head.stride, "padding": head.padding, "dilation": head.dilation}
    if head.transposed:
        sizes["output_padding"] = head.output_padding
    kind = LAYERS[type(head)]
    kernel, options["groups"] = _short(head.kernel_size), head.groups
    options |= {key: _short(size) for key, size in sizes.items()}
    return kind(head.in_channels, head.out_channels, kernel, bias=bias, **options), used


def _norm(head: nn.Module, module: nn.Module | None) -> Norm | None:
    axes = 0 if isinstance(head, nn.Linear) else len(head.kernel_size) if isinstance(head, _ConvNd) else None
    wanted = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
    fits = axes is not None and type(module) is wanted[axes]
    if isinstance(module, _BatchNorm) and fits and module.track_running_stats and module.momentum:
        return BatchNorm(affine=module.affine, eps=module.eps, momentum=module.momentum)
    if type(module) is nn.GroupNorm:
        if module.num_groups == 1:
            return LayerNorm(affine=module.affine, eps=module.eps)
        return GroupNorm(module.num_groups, affine=module.affine, eps=module.eps)
    # without eps of its own the number depends on the dtype
    if type(module) is nn.RMSNorm and axes == 0 and len(module.normalized_shape) == 1 and module.eps is not None:
        return RMSNorm(affine=module.elementwise_affine, eps=module.eps)
    return None


def _short(sizes: Sequence[int]) -> int | list[int]:
    """Return one number where all are equal."""
    return sizes[0] if len(set(sizes)) == 1 else list(sizes)


def _dropout(module: nn.Module | None) -> float | None:
    return float(module.p) if type(module) is nn.Dropout else None


def parameter_free_layer(module: nn.Module) -> Layer | None:
    """Return the layer without weights that equals a module; None: there is none.

    Args:
        module: one of torch's own, unchanged.
    """
    if type(module) is nn.MaxPool2d and not module.return_indices and not module.ceil_mode:
        size, stride = _side(module.kernel_size), _side(module.stride)
        if size and stride and _side(module.padding) == 0 and _side(module.dilation) == 1:
            return MaxPool2d(size, stride=stride)
    if type(module) is nn.AvgPool2d and not module.ceil_mode and not module.divisor_override:
        size, stride = _side(module.kernel_size), _side(module.stride)
        if size and stride and _side(module.padding) == 0:
            return AvgPool2d(size, stride=stride)
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return Flatten()
    if type(module) is nn.Dropout:
        return Dropout(float(module.p))
    return None


def _side(size: object) -> int | None:
    """Return one number for the sides of a square, or None."""
    sides = set(size) if isinstance(size, tuple) else {size}
    side = sides.pop() if len(sides) == 1 else None
    return side if isinstance(side, int) else None
