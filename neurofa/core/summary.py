"""A network as text: one line a layer, with its options, output shape, device and number of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neurofa.core.layer import Layer
from neurofa.core.synapses import Synapses

_HEADINGS = ("name", "layer", "output", "device", "parameters")


def network_summary(title: str, layers: Mapping[str, Layer], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return a table of the layers from input to readout, and a line with the total number of parameters.

    Args:
        title: first line.
        layers: by name, in order.
        shapes: of one sample's output, by layer.

    >>> from neurofa.networks import MLP
    >>> MLP(hidden=[5]).build(input_shape=(4,), outputs=3, device="fixed(bits=4)")
    mlp(hidden=[5]): input 4, periphery exact
    name    layer                                    output  device         parameters
    dense0  dense(n_in=4, n_out=5, activation=tanh)  5       fixed(bits=4)          25
    dense1  dense(n_in=5, n_out=3)                   3       fixed(bits=4)          18
    total                                                                           43
    """
    rows = [
        (name, repr(layer), shape_text(shapes[name]), _devices(layer), _parameters(layer))
        for name, layer in layers.items()
    ]
    total = ("total", "", "", "", _parameters(*layers.values()))
    return "\n".join([title, *_aligned([_HEADINGS, *rows, total])])


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as ``3x32x32``."""
    return "x".join(map(str, shape))


def _devices(layer: Layer) -> str:
    """Specs of the devices that store the layer's matrices and kernels."""
    stored = [part for part in layer.modules() if isinstance(part, Synapses) and part.weight.dim() > 1]
    return ", ".join(dict.fromkeys(str(part.device) for part in stored))


def _parameters(*layers: Layer) -> str:
    return f"{sum(value.numel() for layer in layers for value in layer.parameters()):,}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table; the last column, of numbers, is aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([*map(str.ljust, row[:-1], widths), row[-1].rjust(widths[-1])]) for row in rows]
