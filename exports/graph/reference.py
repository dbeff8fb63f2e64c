"""The neutral graph in plain torch: the slow oracle of every exporter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from exports.graph.arrays import Array
from exports.graph.model import Model
from exports.graph.neurons import NeuronDynamics, SpikingNode
from exports.graph.nodes import AffineNode, ConvNode, FlattenNode, IdentityNode, Node, PoolNode
from hwmodels.errors import NeurofaError

States = dict[str, Tensor]
"""Variables that are carried from tick to tick, by ``NODE.NAME``."""

_F = nn.functional
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda a: a,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": _F.gelu,
    "silu": _F.silu,
    "leaky_relu": lambda a: _F.leaky_relu(a, 0.01),
}


def evaluate_node(node: Node, x: Tensor) -> Tensor:
    """Return the output of one stateless layer in evaluation mode, (B, *in_shape) to (B, *out_shape).

    Raises:
        NeurofaError: the node has state, or is a traced module.
    """
    match node:
        case AffineNode():
            return _ACTIVATIONS[node.activation](_normalise(node, affine_output(node, x)))
        case PoolNode(how="global"):
            return x.mean((2, 3))
        case PoolNode():
            pool = _F.max_pool2d if node.how == "max" else _F.avg_pool2d
            pooled: Tensor = pool(x, node.size, node.stride)
            return pooled
        case FlattenNode():
            return x.flatten(1)
        case IdentityNode():
            return x
    raise NeurofaError(f"got a {node.kind} at '{node.name}'; expected a layer without state; run it in ticks")


def affine_output(node: AffineNode, x: Tensor) -> Tensor:
    """Return W x + b, (B, *in_shape) to (B, *out_shape)."""
    bias = _values(node.bias)
    if isinstance(node, ConvNode):
        return _F.conv2d(x, node.weight.values, bias, node.stride, node.padding, 1, node.groups)
    return _F.linear(x, node.weight.values, bias)


def _values(array: Array | None) -> Tensor | None:
    return None if array is None else array.values


def _normalise(node: AffineNode, a: Tensor) -> Tensor:
    norm = node.norm
    if norm is None:
        return a
    gain, shift = _values(norm.gain), _values(norm.shift)
    if norm.kind == "batch":
        return _F.batch_norm(a, _values(norm.mean), _values(norm.variance), gain, shift, False, 0.0, norm.eps)
    return _F.group_norm(a, 1, gain, shift, norm.eps)


def zero_states(model: Model, batch: int) -> States:
    """Return all states before the first tick: zeros, (B, *out_shape).

    Args:
        model: the network.
        batch: B.
    """
    return {
        f"{node.name}.{key}": node.neuron.beta.values.new_zeros(batch, *node.out_shape)
        for node in model.nodes
        if isinstance(node, SpikingNode)
        for key in node.states
    }


def run_tick(model: Model, x: Tensor, states: States) -> tuple[Tensor, States, dict[str, Tensor]]:
    """Compute one tick of all layers of an exported network.

    Args:
        model: the network.
        x: (B, *input_shape).
        states: before the tick.

    Returns:
        Output (B, o), states after the tick, and the spikes (B, *out_shape) of every spiking layer by its name.
    """
    after, spikes = dict(states), dict[str, Tensor]()
    for node in model.nodes:
        if not isinstance(node, SpikingNode):
            x = evaluate_node(node, x)
            continue
        node.require_raw_membrane()
        before = {key: states[f"{node.name}.{key}"] for key in node.states}
        current = affine_output(node.current, x)
        if node.pool is not None:
            current = evaluate_node(node.pool, current)
        if node.recurrent is not None:
            recurrent = before["z"].flatten(1) @ node.recurrent.values.t()
            current = current + recurrent.view_as(current)
        x, new = neuron_tick(node.neuron, current, before)
        if node.neuron.spikes:
            spikes[node.name] = x
        if "z" in before:
            new["z"] = x
        after |= {f"{node.name}.{key}": value for key, value in new.items()}
    return x, after, spikes


def neuron_tick(n: NeuronDynamics, current: Tensor, before: States) -> tuple[Tensor, States]:
    """Compute one tick of :class:`exports.graph.neurons.NeuronDynamics`.

    Args:
        n: the dynamics.
        current: I, (B, *out_shape).
        before: i, u, a and z before the tick, as far as the model has them.

    Returns:
        Output z (of ``leaky``: u), and the states after the tick.
    """
    values = {key: array.values for key, array in n.arrays().items()}
    u, after, drive, beta = before["u"], States(), current, values["beta"]
    if n.model == "leaky":
        u = beta * u + current
        return u, {"u": u}
    theta = values["threshold"]
    if n.model == "synaptic":
        drive = after["i"] = values["alpha"] * before["i"] + current
    raised: Tensor | float = values["kappa"] * before["a"] if n.model == "alif" else 0.0
    fired = before["z"] if n.model == "alif" else (u > theta).to(u.dtype)
    if n.reset == "zero" and n.delay and not n.gated:
        u = u * (1 - fired)
    u = beta * u + drive
    if n.skips:
        u = u * (1 - fired)
    # a potential may lie on its threshold up to rounding: the order of operations is that of the layers
    if n.reset == "subtract" and (n.delay or n.model != "alif"):
        u = u - fired * theta
    z = (u - theta > raised).to(u.dtype)
    if n.reset == "subtract" and not n.delay:
        u = u - (z if n.model == "alif" else z - fired) * theta
    elif n.reset == "zero" and not n.delay:
        u = u * (1 - z)
    after["u"] = u
    if n.model == "alif":
        after["a"] = values["rho"] * before["a"] + z
    return z, after


@torch.no_grad()
def run_ticks(model: Model, xs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute T ticks of all layers of an exported network, from states of zero.

    Args:
        model: the network.
        xs: (T, B, *input_shape).

    Returns:
        Outputs (T, B, o), and the spikes (T, B, *out_shape) of every spiking layer by its name.
    """
    states, outputs, trains = zero_states(model, xs.shape[1]), [], dict[str, list[Tensor]]()
    for x in xs.unbind(0):
        y, states, spikes = run_tick(model, x, states)
        outputs.append(y)
        for name, z in spikes.items():
            trains.setdefault(name, []).append(z)
    return torch.stack(outputs), {name: torch.stack(zs) for name, zs in trains.items()}
