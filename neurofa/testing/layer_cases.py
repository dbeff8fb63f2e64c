"""Variants and inputs of a layer on which its contract is checked, and views with random errors."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hwmodels.registry import build, options, parts
from hwmodels.testing.tools import require
from neurofa.core.layer import Layer
from neurofa.core.randomness import generator
from neurofa.core.view import LocalView

SHAPES = ((4,), (2, 8, 8), (5, 4), (2, 9), (2, 3, 4, 3))
"""Shapes of one sample: a vector, an image, tokens (only for layers that take vectors), and a signal and a volume (only
for layers that take none of the others)."""
VARIANTS = {
    "bias": ["bias=False"],
    "dropout": ["dropout=0.5"],
    "stride": ["stride=2"],
    "padding": ["padding=1, stride=2"],
    "dilation": ["dilation=2, padding=2"],
    "groups": ["groups=2"],
    "output_padding": ["output_padding=1, stride=2, padding=1, groups=2"],
    "pool": ["pool=avg_pool2d", "pool=max_pool2d, stride=2", "pool='max_pool2d(size=2, stride=1)'"],
    "neuron": ["neuron=leaky", "neuron=synaptic"],
}
"""Options that mean the same in all layers, with their settings in the checks."""


def layer_specs(name: str) -> list[str]:
    """Return specs of the layer: from defaults, and with every activation, normalisation and common option it has."""
    known = options(parts("layer")[name])
    specs = [name]
    if "activation" in known:
        specs += [f"{name}(activation={a})" for a in parts("activation")]
    if "norm" in known:
        for norm in parts("norm"):
            specs += [f"{name}(norm={norm}, activation=tanh)", f"{name}(norm='{norm}(affine=False)', activation=gelu)"]
    if "norm" in known and "dropout" in known:
        specs.append(f"{name}(norm=batch, activation=silu, dropout=0.5)")
    if "recurrent" in known:
        specs += [f"{name}(neuron={n}, recurrent=True)" for n in parts("neuron")]
    return specs + [f"{name}({setting})" for option, s in VARIANTS.items() if option in known for setting in s]


def layer_cases(name: str, *, training: bool) -> Iterator[tuple[str, Layer, Tensor]]:
    """Build every variant of a layer for every small input that it takes, in float64.

    Args:
        name: registered name of the layer.
        training: mode of the layers.

    Yields:
        A title for messages, the layer, and its input (6, *shape).
    """
    for spec in layer_specs(name):
        served: list[tuple[int, ...]] = []
        for shape in SHAPES:
            if shape == (5, 4) and (4,) not in served:
                continue  # torch's image maps would take the samples of (B, S, d) for channels
            if shape in SHAPES[3:] and served:
                continue
            layer: Layer = build("layer", spec)
            gen = generator(0, "layer")
            layer.initialise(build("device", "digital"), gen)
            layer.double().train(training)
            x = torch.randn(6, *shape, generator=gen, dtype=torch.float64)
            if (vocabulary := layer.traits.vocabulary) is not None:
                x = torch.randint(vocabulary, (6, *shape), generator=gen)
            try:
                with torch.no_grad():
                    layer.compute(layer.synapses.read(), x, layer.fresh_state(x, gen))
            except (RuntimeError, ValueError, IndexError):
                continue
            # gains of one and shifts of zero would hide an error
            for value in layer.parameters():
                value.data.add_(torch.randn(value.shape, generator=gen, dtype=value.dtype), alpha=0.3)
            served.append(shape)
            yield f"{spec} on {shape}", layer, x
        require(bool(served), f"layer '{spec}' takes none of the inputs {SHAPES}")


@torch.no_grad()
def random_view(layer: Layer, x: Tensor, *, own: bool) -> LocalView:
    """Return the view of one tick with a random error.

    Args:
        layer: as yielded by :func:`layer_cases`.
        x: its input.
        own: whether the return weights are the layer's own weights, or else equal copies of them.
    """
    params = layer.synapses.read()
    before = layer.fresh_state(x, generator(1, "state"))
    back = params if own else {key: params[key].clone() for key in layer.traits.returning}
    y, after, graph = layer.record(params, x, before, back, True)
    error = torch.randn(y.shape, generator=generator(2, "error"), dtype=y.dtype)
    return LocalView(x, y, params, before, after, back, graph, error=error)
