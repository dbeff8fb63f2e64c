"""A network as text: one line a layer, with its options, output shape, device and number of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
    inside, weights = exact_credit(layers.values())
    remark = [exact_text(inside, weights)] if inside else []
    return "\n".join([title, *_aligned([_HEADINGS, *rows, total]), *remark])


def exact_credit(layers: Iterable[Layer]) -> tuple[int, int]:
    """Return how many weights lie in layers of several maps, and how many there are.

    Under a direct rule an error reaches the former through exact transposes inside their layer.

    Args:
        layers: of a network, or some of them.
    """
    sizes = [(layer.traits.exact_inside, sum(p.numel() for p in layer.parameters())) for layer in layers]
    return sum(size for inside, size in sizes if inside), sum(size for _, size in sizes)


def exact_text(inside: int, weights: int) -> str:
    """Return the sentence on credit inside units.

    Args:
        inside: weights that exact transposes inside their unit serve.
        weights: all weights.
    """
    return f"credit inside a unit is exact: {inside:,} of {weights:,} weights"


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
