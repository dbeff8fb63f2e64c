"""Slow oracles of spiking layers, shared by their tests: autograd through every tick, and the same by chunks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hwmodels.registry import build
from neurofa.core.directions import dense
from neurofa.core.dynamics import OUT
from neurofa.core.events import Events
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.core.view import LocalView
from neurofa.spiking.sequence import initial_states
from neurofa.spiking.temporal import Temporal, carry_traces
from neurofa.training.learner import Learner

RATES = (0.1, 0.4)
"""Share of ticks in which neurons of these tests fire: where they rarely do, or always, a test says little."""


def excited(layer: Temporal, xs: Tensor, signal: Tensor, seed: int = 0) -> Temporal:
    """The layer in float64 with large weights, and with biases that make it fire in a good part of the ticks."""
    gen = torch.Generator().manual_seed(seed)
    layer.initialise(build("device", "digital"), gen)
    layer.double()
    with torch.no_grad():
        for key, weight in layer.synapses.stored().items():
            weight.mul_(4.0 if key != "recurrent" else 2.0)
        for _ in range(40):
            rate = by_chunks(layer, xs, signal, len(xs))[1]
            if RATES[0] < rate < RATES[1]:
                return layer
            layer.synapses["bias"].weight.add_(0.1 if rate < RATES[0] else -0.1)
    raise AssertionError(f"the layer fires in {rate:.0%} of the ticks")


def by_chunks(
    layer: Temporal, xs: Tensor, signal: Tensor, k: int, kappa: float = 0.0
) -> tuple[dict[str, Tensor], float]:
    """Directions from chunks of k ticks, and the firing rate."""
    total: dict[str, Tensor] = {}
    spikes: list[Tensor] = []
    params, state = layer.synapses.read(), layer.initial_state(torch.zeros_like(signal[0]))
    for begin in range(0, len(xs), k):
        x, error = xs[begin : begin + k].flatten(0, 1), signal[begin : begin + k].flatten(0, 1)
        y, left, after = layer.run_ticks(params, x, len(x) // xs.shape[1], state)
        view = LocalView(x, y, params, state, left, error=error, filter_decay=kappa)
        for key, found in dense(layer.pullback(layer.backprop_local(view))).items():
            total[key] = total[key] + found if key in total else found
        state = after | carry_traces(layer, view)
        spikes.append(y)
    return total, float(torch.cat(spikes).mean())


def by_autograd(
    layer: Temporal, xs: Tensor, signal: Tensor, kappa: float = 0.0, *, cut: bool = True
) -> dict[str, Tensor]:
    """The same by backpropagation through all ticks, the recurrence cut or not."""
    leaves = {key: w.clone().requires_grad_() for key, w in layer.synapses.read().items()}
    state, value = layer.initial_state(torch.zeros_like(signal[0])), torch.zeros((), dtype=xs.dtype)
    filtered = torch.zeros_like(signal[0])
    for x, error in zip(xs, signal, strict=True):
        y, after = layer.compute(leaves, x, state)
        state = {key: after[key] for key in state}
        if cut and OUT in state:
            state[OUT] = state[OUT].detach()
        filtered = kappa * filtered + y
        value = value + (error * filtered).sum()
    return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))


def near(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float = 1e-8) -> bool:
    """Whether all directions agree, relative to the largest number of each."""
    assert sorted(ours) == sorted(theirs)
    return all(
        bool((ours[k] - w).abs().max() <= tolerance * w.abs().max()) and bool(w.any()) for k, w in theirs.items()
    )


def network_of(spec: str, inputs: int, outputs: int, gain: float = 4.0, seed: int = 0) -> Network:
    """A network in float64 whose hidden layers fire."""
    network = build("network", spec, input_shape=(inputs,), outputs=outputs, seed=seed).double()
    with torch.no_grad():
        for name, layer in network.items():
            for key, weight in layer.synapses.stored().items():
                if name != network.readout:
                    weight.mul_(gain if key != "recurrent" else 1.5)
    return network


def spikes(ticks: int, batch: int, inputs: int, rate: float = 0.3, seed: int = 0) -> Tensor:
    """(T, B, I) random spikes, float64."""
    gen = torch.Generator().manual_seed(seed)
    return (torch.rand(ticks, batch, inputs, generator=gen) < rate).double()


def weights(network: Network) -> dict[str, Tensor]:
    """Copies of all weights, by layer and name."""
    return {f"{name}.{key}": w.clone() for name, layer in network.items() for key, w in layer.synapses.stored().items()}


def streamed(
    network: Network, rule: Rule | str, xs: Tensor | Events, targets: Tensor, **options: Any
) -> dict[str, Tensor]:
    """Directions that one call of ``stream`` takes, found as changes under plain SGD of rate 1."""
    before = weights(network)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=1.0))
    learner.stream(xs, targets, **options)
    return {key: before[key] - w for key, w in weights(network).items()}


def through_time(
    network: Network, xs: Tensor, labels: Tensor, teach: tuple[int, int] | None = None, *, cut: bool
) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy at the taught ticks, by hand: autograd through all ticks and layers."""
    leaves = {
        name: {k: w.clone().requires_grad_() for k, w in layer.synapses.read().items()}
        for name, layer in network.items()
    }
    states, losses = initial_states(network, xs.shape[1]), []
    for x in xs:
        for name, layer in network.items():
            before = states.get(name, {})
            x, after = layer.compute(leaves[name], x, before)  # noqa: PLW2901
            states[name] = {k: after[k].detach() if cut and k == OUT else after[k] for k in before}
        losses.append(torch.nn.functional.cross_entropy(x, labels))
    begin, end = teach or (0, len(xs))
    value = torch.stack(losses[begin:end]).mean()
    names = [f"{name}.{k}" for name, own in leaves.items() for k in own]
    found = torch.autograd.grad(value, [w for own in leaves.values() for w in own.values()])
    return dict(zip(names, found, strict=True))
