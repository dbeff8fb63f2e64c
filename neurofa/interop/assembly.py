"""The network of units that stand for torch modules, with their weights, frozen weights, modes, dtype and place."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from neurofa.core.network import Network
from neurofa.core.programming import ClippedWeights, warn_of_clipping
from neurofa.core.randomness import generator
from neurofa.interop.modules import Numbers, numbers_of
from neurofa.interop.units import Unit
from neurofa.maps.wrapped import independent_copy


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
    warn_of_clipping(shares, network.device_spec)
    network.training = any(part.training for unit in units for _, module in unit.modules for part in module.modules())
    return network.to(numbers.device)
