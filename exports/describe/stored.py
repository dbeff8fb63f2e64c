"""Stored weights and buffers as arrays of the graph, with the keys under which a state dict holds them."""

from __future__ import annotations

from torch import Tensor, nn

from exports.graph.arrays import Array, Matrix, Role
from hwmodels.description import TensorDescription
from hwmodels.device import Device
from neurofa.core.synapses import Synapses

StateKeys = dict[int, str]
"""Key in a state dict, with ``network:`` or ``rule:`` before it, by the identity of a parameter or buffer."""

MICRO = 1e-6


def state_keys(module: nn.Module, prefix: str) -> StateKeys:
    """Return the key of every parameter and buffer of a module in its state dict, by the ``id`` of the tensor.

    Args:
        module: the network or the rule.
        prefix: ``network`` or ``rule``; it stands before every key, with a colon.
    """
    keys = {id(p): f"{prefix}:{key}" for key, p in module.named_parameters()}
    return keys | {id(b): f"{prefix}:{key}" for key, b in module.named_buffers()}


def conductance_range(device: Device) -> tuple[float, float] | None:
    """Return the smallest and the largest conductance of the innermost device, S; None where it has none."""
    limits = device.describe().conductance
    return None if limits is None else (limits[0] * MICRO, limits[1] * MICRO)


def matrix_of(synapses: Synapses, keys: StateKeys, meaning: str, axes: str, role: Role) -> Matrix:
    """Return stored weights as a matrix, with the device that stores them.

    Args:
        synapses: the weights, of two axes or more, one row for each output.
        keys: keys of the state dict, in which the weights are looked up.
        meaning: one line.
        axes: what every axis counts.
        role: use of the weights.
    """
    device, cells = synapses.device, synapses.cells
    return Matrix(
        values=synapses.stored(),
        meaning=meaning,
        axes=axes,
        role=role,
        state=keys.get(id(synapses.weight), ""),
        device=str(device.full_spec),
        conductance=conductance_range(device),
        faults=device.faults(cells),
        grid=device.grid(cells),
    )


def vector_of(synapses: Synapses, keys: StateKeys, meaning: str, axes: str = "(n_out,)") -> Array:
    """Return stored weights as an array that no matrix of a chip holds; arguments as :func:`matrix_of`."""
    weight = synapses.weight
    return Array(values=synapses.stored(), meaning=meaning, axes=axes, state=keys.get(id(weight), ""))


def described(values: Tensor, about: TensorDescription, keys: StateKeys) -> Array:
    """Return a tensor as an :class:`~exports.graph.arrays.Array` with the meaning, unit and axes of its description.

    Args:
        values: the tensor, which is not copied.
        about: its description, by the part that owns it.
        keys: keys of the state dict, in which the tensor is looked up.
    """
    state = keys.get(id(values), "")
    return Array(values=values, meaning=about.meaning, unit=about.unit, axes=about.axes, state=state)
