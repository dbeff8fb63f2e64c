"""Import and export of snnTorch networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from neurofa.core.network import Network
from neurofa.interop.snntorch_check import compare_first_tick
from neurofa.interop.snntorch_parts import parts_of, sequential_of, take_weights


def from_snntorch(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    readout: str = "spikes",
    check: bool = True,
    device: Device | str = "digital",
    periphery: Periphery | str = "exact",
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
        check: run the model once on noise and compare the first tick of every neuron; its ``forward`` must accept one
            batch. False relies on the order of the children.
        device: device that stores the affine weights, or its spec.
        periphery: converters and noise around the arrays of affine weights, or their spec.

    Raises:
        NeurofaError: a part has no counterpart in this package (it is named), or the first tick differs.
    """
    parts = parts_of(model, readout)
    if check:
        plain = Network([part.layer for part in parts], input_shape)
        take_weights(plain, parts)
        compare_first_tick(model, plain, parts)
        parts = parts_of(model, readout)
    network = Network([part.layer for part in parts], input_shape, device=device, periphery=periphery)
    take_weights(network, parts)
    return network


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
