"""Weights by which a layer multiplies its input, found by running it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hwmodels.errors import NeurofaError
from neurofa.core.layer import Layer

PRODUCTS = re.compile(r"mm|mv|dot|conv|linear|lstm|gru|rnn|attention|transformer|matmul")
"""Names of torch's operators that multiply matrices."""
SCALES, SUMS = re.compile(r"aten::mul_?[.]Tensor"), re.compile(r"aten::(sum|mean)\b")
"""Names of those that write such a product out: an elementwise product, and a sum over an axis of both factors."""


class _Factors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Mode that finds weights, and tensors computed from weights alone, in products with what depends on the input.

    Args:
        weights: by name.
        x: the input.
    """

    def __init__(self, weights: dict[str, Tensor], x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[str] = set()
        self._origin = {id(w): frozenset([name]) for name, w in weights.items()}
        self._moving = {id(x)}
        self._scaled: dict[int, tuple[frozenset[str], frozenset[int]]] = {}
        self._alive: list[Any] = [x, *weights.values()]  # so that no id is used a second time

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [id(t) for t in _tensors((args, kwargs or {}))]
        moving = any(i in self._moving for i in inputs)
        origin = frozenset().union(*(self._origin.get(i, ()) for i in inputs if i not in self._moving))
        if moving and origin and PRODUCTS.search(func.name()):
            self.found |= origin
        if SUMS.match(func.name()) and id(args[0]) in self._scaled:
            names, axes = self._scaled[id(args[0])]
            if axes & _summed(args, kwargs or {}):
                self.found |= names
        for t in _tensors(result):
            self._alive.append(t)
            if moving and origin and SCALES.match(func.name()):
                self._scaled[id(t)] = origin, _common_axes(*args[:2])
            if moving:
                self._moving.add(id(t))
            elif origin:
                self._origin[id(t)] = origin
        return result


def _common_axes(a: Tensor, b: Tensor) -> frozenset[int]:
    """Return the axes, counted from the last, -1, in which both factors of an elementwise product vary."""
    return frozenset(axis for axis in range(-min(a.dim(), b.dim()), 0) if a.shape[axis] > 1 and b.shape[axis] > 1)


def _summed(args: Any, kwargs: dict[str, Any]) -> frozenset[int]:
    """Return the axes, counted from the last, -1, over which a call of a sum or a mean adds."""
    count = args[0].dim()
    given = kwargs.get("dim", args[1] if len(args) > 1 else None)
    chosen = [given] if isinstance(given, int) else given or range(count)
    return frozenset(axis if axis < 0 else axis - count for axis in chosen)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


@torch.no_grad()
def multiplied(layer: Layer, x: Tensor) -> list[str]:
    """Return the names of the weights (matrices and kernels) that are factors of matrix products with the input.

    A weight counts too if the factor is computed from it, as in weight normalisation, and if the product is written out
    as an elementwise product and the sum of what it gives.

    Args:
        layer: any layer; it is run once.
        x: (B, *in_shape).
    """
    weights = layer.synapses.stored()
    factors = _Factors(weights, x)
    with factors:
        layer.compute(weights, x, {})
    return [name for name, w in weights.items() if name in factors.found and w.dim() > 1]


def refuse_digital_products(name: str, layer: Layer, x: Tensor, device: str) -> None:
    """Refuse a layer that multiplies its input by weights which are not stored on the network's device.

    Args:
        name: of the layer.
        layer: with its weights.
        x: (B, *in_shape), to run it on.
        device: spec of the device.

    Raises:
        NeurofaError: naming the layer and these weights.
    """
    if layer.traits.array_host is not None or not layer.synapses:
        return
    digital = [key for key in multiplied(layer, x) if layer.synapses[key].exact]
    if digital:
        raise NeurofaError(
            f"got device {device} for layer '{name}', which multiplies by {', '.join(digital)} outside of it; expected"
            " matrices of linear, convolutional, recurrent or attention modules, as they are stored; use device"
            " digital, or bake the weights into such a module"
        )
