"""Import and export of snnTorch networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from neurofa.core.network import Network
from neurofa.interop.modules import numbers_of
from neurofa.interop.snntorch_check import compare_ticks
from neurofa.interop.snntorch_parts import Part, parts_of, sequential_of, take_weights


def from_snntorch(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    readout: str = "spikes",
    check: bool = True,
    device: Device | str = "digital",
    periphery: Periphery | str = "exact",
    seed: int = 0,
) -> Network:
    """Return the network of a snnTorch model: ``Leaky``, ``RLeaky`` and ``Synaptic`` after affine maps.

    In an ``nn.Sequential`` the neurons have ``init_hidden=True``, and the last may have ``output=True``. The children
    of any other module are used in the order of their definition (``fc1, lif1, fc2, lif2``), with a flattening before
    the first linear map after images. Learnable decays and thresholds become constants. The bias of an ``RLeaky``'s
    recurrence is added to the layer's bias. Spikes equal those of snnTorch, except where another order of summation
    rounds a potential to the other side of its threshold.

    Args:
        model: the network; its weights are copied.
        input_shape: shape of one sample in one tick.
        readout: output of the network in every tick: the ``spikes`` of the last neurons, or the ``membrane`` of a last
            ``Leaky`` with ``reset_mechanism="none"``.
        check: run the model on noise and compare the potentials of every neuron after each tick; its ``forward`` must
            accept one batch, as one tick or as a constant input. False relies on the order of the children.
        device: device that stores the affine weights, or its spec.
        periphery: converters and noise around the arrays of affine weights, or their spec.
        seed: of the noise with which a device is programmed.

    Raises:
        NeurofaError: a part has no counterpart in this package (it is named), or a tick differs.
    """
    parts = parts_of(model, readout)
    if check:
        plain = _network(parts, input_shape, "digital", "exact", seed)
        compare_ticks(model, plain, parts)
        parts = parts_of(model, readout)
    return _network(parts, input_shape, device, periphery, seed)


def _network(
    parts: Sequence[Part], input_shape: Sequence[int], device: Device | str, periphery: Periphery | str, seed: int
) -> Network:
    """Return the network of parts, with their weights, frozen weights, dtype and place."""
    numbers = numbers_of([part.affine for part in parts if part.affine is not None])
    layers = [part.layer for part in parts]
    network = Network(layers, input_shape, device=device, periphery=periphery, seed=seed).to(numbers.dtype)
    take_weights(network, parts, seed)
    return network.to(numbers.device)


def to_snntorch(network: Network) -> nn.Sequential:
    """Return a snnTorch model with copies of the stored weights: ``Linear, Leaky, ...`` with ``init_hidden=True``.

    The last neurons have ``output=True`` and return spikes and states. A ``leaky`` readout becomes a ``Leaky`` without
    reset, whose last state is this network's output.

    Args:
        network: network of spiking layers.

    Raises:
        NeurofaError: snnTorch has no such layer, neuron or surrogate (the layer is named).
    """
    return sequential_of(network)
