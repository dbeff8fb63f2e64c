"""The neutral graph in plain torch: the slow oracle of every exporter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from exports.graph.arrays import Array
from exports.graph.model import Model
from exports.graph.neurons import NeuronDynamics, SpikingNode
from exports.graph.nodes import AffineNode, ConvNode, DenseNode, FlattenNode, IdentityNode, Node, PoolNode
from hwmodels.errors import NeurofaError

States = dict[str, Tensor]
"""What is carried from tick to tick, by ``NODE.NAME``."""

_F = nn.functional
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda a: a, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": _F.gelu,
    "silu": _F.silu, "leaky_relu": lambda a: _F.leaky_relu(a, 0.01),
}  # fmt: skip


def _values(array: Array | None) -> Tensor | None:
    return None if array is None else array.values


def apply(node: Node, x: Tensor) -> Tensor:
    """One layer without state in evaluation mode, (B, *in_shape) to (B, *out_shape).

    Raises:
        NeurofaError: the node has state, or is a traced module.
    """
    if isinstance(node, AffineNode):
        return _ACTIVATIONS[node.activation](_normalised(node, affine(node, x)))
    if isinstance(node, PoolNode):
        if node.how == "global":
            return x.mean((2, 3))
        pool = _F.max_pool2d if node.how == "max" else _F.avg_pool2d
        found: Tensor = pool(x, node.size, node.stride)
        return found
    if isinstance(node, FlattenNode):
        return x.flatten(1)
    if isinstance(node, IdentityNode):
        return x
    raise NeurofaError(f"got a {node.kind} at '{node.name}'; expected a layer without state; run it in ticks")


def affine(node: AffineNode, x: Tensor) -> Tensor:
    """W x + b."""
    if isinstance(node, DenseNode):
        return _F.linear(x, node.weight.values, _values(node.bias))
    assert isinstance(node, ConvNode)  # noqa: S101 (affine nodes are one or the other)
    return _F.conv2d(x, node.weight.values, _values(node.bias), node.stride, node.padding, 1, node.groups)


def _normalised(node: AffineNode, a: Tensor) -> Tensor:
    norm = node.norm
    if norm is None:
        return a
    gain, shift = _values(norm.gain), _values(norm.shift)
    if norm.kind == "batch":
        return _F.batch_norm(a, _values(norm.mean), _values(norm.variance), gain, shift, False, 0.0, norm.eps)
    return _F.group_norm(a, 1, gain, shift, norm.eps)


def start(model: Model, batch: int) -> States:
    """All states before the first tick: zero."""
    found = {}
    for node in model.nodes:
        if isinstance(node, SpikingNode):
            for key in state_names(node):
                found[f"{node.name}.{key}"] = node.neuron.beta.values.new_zeros(batch, *node.out_shape)
    return found


def state_names(node: SpikingNode) -> tuple[str, ...]:
    """Names of what one layer carries; previous spikes z where the equations ask for them."""
    return (
        (*node.neuron.states, "z") if node.recurrent is not None or node.neuron.model == "alif" else node.neuron.states
    )


def tick(model: Model, x: Tensor, states: States) -> tuple[Tensor, States, dict[str, Tensor]]:
    """One tick of all layers.

    Args:
        model: the network.
        x: (B, *input_shape).
        states: before the tick.

    Returns:
        Output (B, o), states after the tick, and the spikes of every spiking layer by its name.
    """
    after, spikes = dict(states), dict[str, Tensor]()
    for node in model.nodes:
        if not isinstance(node, SpikingNode):
            x = apply(node, x)
            continue
        own = {key: states[f"{node.name}.{key}"] for key in state_names(node)}
        node.neuron.computable(node.name)
        current = affine(node.current, x)
        if node.pool is not None:
            current = apply(node.pool, current)
        if node.recurrent is not None:
            back = own["z"].flatten(1) @ node.recurrent.values.t()
            current = current + back.view_as(current)
        x, new = neuron(node.neuron, current, own)
        if node.neuron.spikes:
            spikes[node.name] = x
        if "z" in own:
            new["z"] = x
        after |= {f"{node.name}.{key}": value for key, value in new.items()}
    return x, after, spikes


def neuron(n: NeuronDynamics, current: Tensor, own: States) -> tuple[Tensor, States]:
    """The equations of :class:`exports.graph.neurons.NeuronDynamics`: output and states after the tick."""
    u, found, drive = own["u"], States(), current
    beta, theta = n.beta.values, _values(n.threshold)
    if n.model == "leaky":
        u = beta * u + current
        return u, {"u": u}
    assert theta is not None  # noqa: S101 (checked when the neuron was built)
    if n.model == "synaptic":
        assert n.alpha is not None  # noqa: S101 (checked when the neuron was built)
        drive = found["i"] = n.alpha.values * own["i"] + current
    raised: Tensor | float = 0.0
    if n.model == "alif":
        assert n.kappa is not None  # noqa: S101 (checked when the neuron was built)
        raised = n.kappa.values * own["a"]
    fired = own["z"] if n.model == "alif" else (u > theta).to(u.dtype)
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
    found["u"] = u
    if n.model == "alif":
        assert n.rho is not None  # noqa: S101 (checked when the neuron was built)
        found["a"] = n.rho.values * own["a"] + z
    return z, found


@torch.no_grad()
def run(model: Model, xs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Many ticks: (T, B, *input_shape) to outputs (T, B, o), and the spikes of every layer (T, B, *out_shape)."""
    states, outputs, seen = start(model, xs.shape[1]), [], dict[str, list[Tensor]]()
    for x in xs.unbind(0):
        y, states, spikes = tick(model, x, states)
        outputs.append(y)
        for name, z in spikes.items():
            seen.setdefault(name, []).append(z)
    return torch.stack(outputs), {name: torch.stack(zs) for name, zs in seen.items()}
