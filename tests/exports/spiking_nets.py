"""Hand-made spiking graphs for tests, until layers describe themselves."""

from __future__ import annotations

from typing import Any

import torch

from exports.graph.arrays import Array, Matrix
from exports.graph.model import Model
from exports.graph.neurons import NeuronDynamics, SpikingNode
from exports.graph.nodes import ConvNode, DenseNode, FlattenNode, Node, PoolNode


def grid(shape: tuple[int, ...], gen: torch.Generator, scale: float) -> torch.Tensor:
    """Weights on a grid of 1/64, so that sums of them are exact in any order."""
    return torch.randn(shape, generator=gen).mul_(scale * 64).round_().div_(64)


def neuron(model: str, shape: tuple[int, ...], gen: torch.Generator, **options) -> NeuronDynamics:
    """Neurons with decays that differ from neuron to neuron."""

    def array(low: float, high: float) -> Array:
        return Array(values=torch.rand(shape, generator=gen) * (high - low) + low, meaning="a parameter of the neurons")

    own: dict = {"beta": array(0.7, 0.95), "dt": 1e-4, **options}
    if model != "leaky":
        own["threshold"] = Array(values=torch.ones(shape), meaning="threshold")
    if model == "synaptic":
        own["alpha"] = array(0.5, 0.9)
    if model == "alif":
        own["rho"], own["kappa"] = array(0.9, 0.99), array(0.05, 0.3)
    kind: Any = model
    return NeuronDynamics(model=kind, **own)


def dense(name: str, n_in: int, n_out: int, gen: torch.Generator, scale: float = 0.5, bias: bool = True) -> DenseNode:
    return DenseNode(
        name=name,
        in_shape=(n_in,),
        out_shape=(n_out,),
        weight=Matrix(values=grid((n_out, n_in), gen, scale), meaning="forward weights"),
        bias=Array(values=grid((n_out,), gen, 0.1), meaning="bias") if bias else None,
    )


def spiking(
    name: str, n_in: int, n_out: int, gen: torch.Generator, model: str = "lif", recurrent: bool = False, **options
) -> SpikingNode:
    weights = Matrix(values=grid((n_out, n_out), gen, 0.2), meaning="recurrent weights") if recurrent else None
    current = dense(name, n_in, n_out, gen)
    return SpikingNode(
        name=name,
        in_shape=(n_in,),
        out_shape=(n_out,),
        current=current,
        recurrent=weights,
        neuron=neuron(model, (n_out,), gen, **options),
    )


def chain(*nodes: Node) -> Model:
    return Model(input_shape=nodes[0].in_shape, nodes=nodes)


def stack(model: str = "lif", recurrent: bool = False, seed: int = 0, **options) -> Model:
    """12 inputs, 16 spiking neurons, 5 leaky readouts."""
    gen = torch.Generator().manual_seed(seed)
    return chain(
        spiking("hidden", 12, 16, gen, model, recurrent, **options),
        spiking("readout", 16, 5, gen, "leaky", reset="none"),
    )


def images(seed: int = 0, **options) -> Model:
    """A spiking convolution, pooling, and a readout."""
    gen = torch.Generator().manual_seed(seed)
    kernels = Matrix(values=grid((3, 1, 3, 3), gen, 0.6), meaning="kernels")
    current = ConvNode(name="conv", in_shape=(1, 8, 8), out_shape=(3, 8, 8), weight=kernels, padding=1)
    return chain(
        SpikingNode(
            name="conv",
            in_shape=(1, 8, 8),
            out_shape=(3, 8, 8),
            current=current,
            neuron=neuron("lif", (3, 8, 8), gen, **options),
        ),
        PoolNode(name="pool", in_shape=(3, 8, 8), out_shape=(3, 4, 4), how="mean", size=2, stride=2),
        FlattenNode(name="flat", in_shape=(3, 4, 4), out_shape=(48,)),
        spiking("readout", 48, 4, gen, "leaky", reset="none"),
    )


def spikes(model: Model, ticks: int, samples: int, seed: int = 1, rate: float = 0.3) -> torch.Tensor:
    gen = torch.Generator().manual_seed(seed)
    return (torch.rand(ticks, samples, *model.input_shape, generator=gen) < rate).float()
