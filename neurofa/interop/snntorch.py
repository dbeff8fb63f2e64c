"""Networks of snnTorch, taken over as networks here and given back."""

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
    """Take over a network of snnTorch: ``Leaky``, ``RLeaky`` and ``Synaptic`` behind linear and convolutional maps.

    In an ``nn.Sequential`` the neurons have ``init_hidden=True``, the last one may have ``output=True``. Of any
    other module the children are taken in the order of their definition (``fc1, lif1, fc2, lif2``), flattened
    before the first linear one behind images. Decays and thresholds that snnTorch would learn keep their values.
    The bias of an ``RLeaky``'s recurrence joins the layer's own. Spikes are those of snnTorch, except where another
    order of the same sums rounds a potential to the other side of its threshold.

    Args:
        model: the network; its weights are copied.
        input_shape: shape of one sample of one tick.
        readout: output of the network at every tick: the ``spikes`` of the last neurons, or the ``membrane`` of a
            last ``Leaky`` with ``reset_mechanism="none"``.
        check: run the model once on noise and compare the first tick of every neuron; its ``forward`` must take
            one batch. False trusts the order of the children.
        device: spec of the device for the affine weights.
        periphery: spec of what stands around their arrays.

    Raises:
        NeurofaError: a part has no counterpart here (it is named), or the first tick differs.
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
    """Return a network of snnTorch with copies of the stored weights: ``Linear, Leaky, ...`` with ``init_hidden=True``.

    The last neurons have ``output=True`` and return spikes and states; of a ``leaky`` readout, which becomes a
    ``Leaky`` without reset, the last state is this network's output.

    Args:
        network: of spiking layers.

    Raises:
        NeurofaError: snnTorch has no such layer, neuron or surrogate (the layer is named).
    """
    return sequential_of(network)
