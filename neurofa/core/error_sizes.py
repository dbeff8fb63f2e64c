"""Sizes of backpropagated errors at initialisation, from shapes and initialisers alone: a redrawn twin is measured."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import parse
from neurofa.core.layer import Layer
from neurofa.core.randomness import generator
from neurofa.core.synapses import SynapseGroup
from neurofa.core.view import Params, State

SEED = 20_160_906
"""Of every twin, so that the sizes belong to an architecture and not to a run."""
SAMPLES = 32
"""Most random samples of a twin's pass."""
VALUES = 2**20
"""Most numbers that all layers of a twin put out in one tick; larger networks take fewer samples."""
UNSEEDED = ("module",)
"""Recipes whose weights come from code or files of the user and not from the seed: their modules are redrawn."""
TICKS = 8
"""Ticks of the pass through layers with a memory, whose potentials build up."""

Twin = list[tuple[str, Layer, Params]]
"""Names, layers and newly drawn weights, from input to readout."""


class Architecture(Protocol):
    """What is used of a network: recipe, shapes and initialisers of its layers."""

    spec: str
    """Recipe; empty: no recipe built it."""
    input_shape: tuple[int, ...]
    """Shape of one sample."""
    shapes: dict[str, tuple[int, ...]]
    """Output shape of every layer, by name."""

    @property
    def outputs(self) -> int:
        """Number of outputs."""

    def items(self) -> Iterator[tuple[str, Layer]]:
        """Return names and layers, from input to readout."""

    def example(self, samples: int, gen: torch.Generator | None = None) -> Tensor:
        """Return a random batch."""


def error_sizes(network: Architecture) -> dict[str, float]:
    """Return rms(error at a layer's output) / rms(output error) of backpropagation, by layer, at initialisation.

    A twin of the network with weights of its own, drawn by the same initialisers from another seed, gets random inputs
    and a standard normal output error; one pass of backpropagation gives the ratios, to three digits. No data and no
    weight of the network itself enter. Layers with a memory run a few ticks; in each the error crosses the surrogates
    of this tick alone, as online rules deliver it.

    Args:
        network: the network, of which shapes, recipe and initialisers are used.

    Returns:
        One number per layer with weights but the readout.
    """
    outside = torch.utils._python_dispatch._disable_current_modes
    with outside(), torch.random.fork_rng(devices=[]):
        if network.spec and parse(network.spec).name not in UNSEEDED:
            sizes = _sizes_of_recipe(network.spec, network.input_shape, network.outputs, tuple(network.shapes.items()))
            if sizes is not None:
                return dict(sizes)
        return measured(network, redrawn(network, generator(SEED, "weights")))


@functools.lru_cache(maxsize=64)
def _sizes_of_recipe(
    spec: str, input_shape: tuple[int, ...], outputs: int, shapes: tuple[tuple[str, tuple[int, ...]], ...]
) -> Mapping[str, float] | None:
    """Return the sizes of a network that its recipe builds; None: the recipe now builds another network."""
    try:
        twin: Architecture = build("network", spec, input_shape=input_shape, outputs=outputs, seed=SEED)
    except NeurofaError:
        return None
    if tuple(twin.shapes.items()) != shapes:
        return None
    return measured(twin, [(name, layer, layer.synapses.stored()) for name, layer in twin.items()])


def redrawn(network: Architecture, gen: torch.Generator) -> Twin:
    """Return copies of a network's layers, on the CPU, with weights that their initialisers drew anew.

    Args:
        network: is not changed.
        gen: source of the weights.
    """
    twin: Twin = []
    device = build("device", "digital")
    torch.manual_seed(gen.initial_seed() % 2**63)  # what torch modules draw from; the caller forks it
    for name, layer in network.items():
        own = copy.deepcopy(layer).cpu().float()
        traits = own.traits
        if traits.array_host is not None:
            traits.array_host.attach(None, fused=False)
        if traits.redraw is not None:
            twin.append((name, own, traits.redraw()))
            continue
        own.synapses = SynapseGroup()
        own.initialise(device, gen)
        twin.append((name, own, own.synapses.stored()))
    return twin


def measured(network: Architecture, twin: Twin) -> dict[str, float]:
    """Return the ratios of a twin by one pass of backpropagation.

    Args:
        network: for the shapes.
        twin: in any mode; it passes in training mode.
    """
    gen = generator(SEED, "twin")
    total = sum(math.prod(network.shapes[name]) for name, *_ in twin)
    x = network.example(max(4, min(SAMPLES, VALUES // max(total, 1))), gen)
    ticks = TICKS if any(layer.traits.remembers for _, layer, _ in twin) else 1
    states: dict[str, State] = {}
    squares: dict[str, list[Tensor]] = {}
    for tick in range(ticks):
        inputs = x if not tick else network.example(len(x), gen)
        outputs = _tick(twin, inputs, states, gen)
        y = outputs.pop(twin[-1][0])
        names = [name for name, layer, params in twin if params and name in outputs]
        if not names:
            continue
        error = torch.randn(y.shape, generator=gen)
        found = torch.autograd.grad(y, [outputs[name] for name in names], error, allow_unused=True)
        for name, gradient in zip(names, found, strict=True):
            if gradient is not None:
                squares.setdefault(name, []).append(gradient.square().mean() / error.square().mean())
    sizes = {name: float(torch.stack(of).mean().sqrt()) for name, of in squares.items()}
    # three digits do not depend on the processor
    return {name: float(f"{size:.3g}") for name, size in sizes.items() if math.isfinite(size) and size > 0}


def _tick(twin: Twin, x: Tensor, states: dict[str, State], gen: torch.Generator) -> dict[str, Tensor]:
    """Return the outputs of all layers in one tick, with the graph of this tick; the states are moved on."""
    outputs: dict[str, Tensor] = {}
    with torch.enable_grad():
        for name, layer, params in twin:
            layer.train()
            leaves = {key: value.detach().requires_grad_(not outputs) for key, value in params.items()}
            before = {**states.get(name, {}), **layer.fresh_state(x, gen)}
            x, after = layer.compute(leaves, x, before)
            if layer.traits.remembers:
                states[name] = {key: value.detach() for key, value in after.items()}
            if (params or outputs) and x.is_floating_point():
                # behind what passes no gradient, such as a frozen part, errors are measured as if it were the input
                x = x if x.requires_grad else x.detach().requires_grad_()
                outputs[name] = x
    return outputs
